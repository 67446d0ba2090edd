"""``python -m evalhub_adapters.lm_eval_adapter``: runs a benchmark of lm-evaluation-harness in this process.

Tasks that generate text use the chat endpoint. Tasks that compare log-probabilities of given answers use completions that repeat
the prompt (``echo``), without a tokenizer; an endpoint that does not report them is refused before the run.

``model``, ``run``, ``running`` and ``tasks`` import the framework; the other modules do not.
"""
