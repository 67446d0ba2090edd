from lm_eval.api.model import LM
from lm_eval.tasks.manager import TaskManager

def simple_evaluate(
    model: LM,
    *,
    tasks: list[str],
    num_fewshot: int | None = None,
    limit: int | None = None,
    bootstrap_iters: int = 100000,
    log_samples: bool = True,
    system_instruction: str | None = None,
    apply_chat_template: bool = False,
    fewshot_as_multiturn: bool = True,
    task_manager: TaskManager | None = None,
    confirm_run_unsafe_code: bool = False,
) -> dict[str, object] | None: ...
