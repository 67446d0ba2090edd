"""The demo model endpoint: OpenAI's API on the loopback interface, answered by :mod:`evalhub_quickstart.demo`.

It has chat completions and completions, also streamed, and the list of models.

A stand-in to try the pipeline, not a language model.

In a program::

    with DemoEndpoint() as endpoint:
        submit_job(model_url=endpoint.url)

By hand: ``python -m evalhub_quickstart.endpoint --port 0`` prints its URL and serves until it is stopped.
"""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Sequence
from types import FrameType
from urllib.parse import urlsplit

from evalhub_common.adapter.json_values import JsonObject, as_list, as_object, describe, parse
from evalhub_quickstart.answers import Generated, stream, whole
from evalhub_quickstart.demo import MODEL_NAME, reply_to
from evalhub_quickstart.loopback import HOST, Handler, LoopbackServer

BODY_LIMIT_BYTES = 4 * 1024 * 1024
_CHAT = "/v1/chat/completions"
_METHODS = {_CHAT: "POST", "/v1/completions": "POST", "/v1/models": "GET", "/health": "GET"}


class DemoEndpoint(LoopbackServer):
    """The endpoint as a context manager, on a free port unless one is given."""

    def __init__(self, *, port: int = 0) -> None:
        """Raises OSError if the port is in use."""
        super().__init__(_DemoHandler, port=port)

    @property
    def url(self) -> str:
        """The base URL, for the ``model.url`` of a job."""
        return f"http://{HOST}:{self.port}/v1"


class _RequestError(Exception):
    """An error response in OpenAI's shape."""

    def __init__(self, status: int, message: str, *, param: str | None = None, **headers: str) -> None:
        super().__init__(message)
        self.status = status
        self.param = param
        self.headers = headers


class _DemoHandler(Handler):
    server_version = "evalhub-quickstart-demo"

    def answer(self) -> None:
        """Handle any request."""
        try:
            body = self._body()
            path = urlsplit(self.path).path
            method = _METHODS.get(path)
            if method is None:
                raise _RequestError(404, f"Unknown path {path}. This endpoint has {', '.join(_METHODS)}.")
            if self.command != method and not (method == "GET" and self.command == "HEAD"):
                raise _RequestError(405, f"{path} takes {method}, not {self.command}.", Allow=method)
            if method == "POST":
                self._generate(body, chat=path == _CHAT)
            else:
                self._send(200, _models() if path == "/v1/models" else {"status": "ok"})
        except _RequestError as error:
            self._send(error.status, _error(str(error), error.param), **error.headers)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = answer  # noqa: N815  fixed names

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """The base class reports malformed requests and unknown methods through this, as HTML."""
        self.close_connection = True
        self._send(
            code,
            _error(message or explain or "The request could not be understood.", None),
            Connection="close",
        )

    def _body(self) -> bytes:
        # Read before any refusal: the rest of a body would be parsed as the next request.
        length = self.headers.get("Content-Length", "0")
        if "Transfer-Encoding" in self.headers or not length.isdecimal() or int(length) > BODY_LIMIT_BYTES:
            self.close_connection = True
            raise _RequestError(
                400,
                f"The body needs a Content-Length of at most {BODY_LIMIT_BYTES} bytes.",
                Connection="close",
            )
        return self.rfile.read(int(length))

    def _generate(self, body: bytes, *, chat: bool) -> None:
        request = _request(body)
        generated = _generated(request, chat=chat)
        if not request.get("stream"):
            self._send(200, whole(generated, chat=chat))
            return
        options = as_object(request.get("stream_options")) or {}
        self.respond_in_parts(
            "text/event-stream", stream(generated, chat=chat, usage=options.get("include_usage") is True)
        )

    def _send(self, status: int, document: JsonObject, **headers: str) -> None:
        self.respond(status, "application/json", json.dumps(document).encode(), **headers)


def _request(body: bytes) -> JsonObject:
    try:
        request = as_object(parse(body))
    except ValueError as error:
        raise _RequestError(400, f"The body is not valid JSON: {error}.") from error
    if request is None:
        raise _RequestError(400, "The body must be a JSON object.")
    return request


def _generated(request: JsonObject, *, chat: bool) -> Generated:
    model = request.get("model")
    if not isinstance(model, str) or not model:
        raise _RequestError(400, f"model is {describe(model)}: it must be a non-empty string.", param="model")
    max_tokens = request.get("max_completion_tokens", request.get("max_tokens"))
    if max_tokens is not None and (
        not isinstance(max_tokens, int) or isinstance(max_tokens, bool) or max_tokens < 1
    ):
        raise _RequestError(
            400, f"max_tokens is {describe(max_tokens)}: it must be at least 1.", param="max_tokens"
        )
    prompt = _last_user_message(request.get("messages")) if chat else request.get("prompt")
    if not isinstance(prompt, str):
        raise _RequestError(400, f"prompt is {describe(prompt)}: it must be a string.", param="prompt")
    reply = reply_to(prompt, max_tokens)
    return Generated(
        model=model,
        prompt=prompt,
        pieces=reply.words,
        finish_reason=reply.finish_reason,
        prompt_tokens=reply.prompt_tokens,
    )


def _last_user_message(value: object) -> str:
    messages = [as_object(item) or {} for item in as_list(value) or []]
    texts = [message.get("content") for message in messages if message.get("role") == "user"]
    if not texts or not isinstance(texts[-1], str):
        raise _RequestError(
            400, "messages must be a list with a user message whose content is a string.", param="messages"
        )
    return texts[-1]


def _models() -> JsonObject:
    model = {"id": MODEL_NAME, "object": "model", "created": 0, "owned_by": "evalhub-quickstart"}
    return {"object": "list", "data": [model]}


def _error(message: str, param: str | None) -> JsonObject:
    return {"error": {"message": message, "type": "invalid_request_error", "param": param, "code": None}}


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGINT or SIGTERM. Prints the URL, and nothing else, on standard output."""
    import argparse

    parser = argparse.ArgumentParser(
        prog="python -m evalhub_quickstart.endpoint",
        description="Serve a rule-based stand-in for a language model, to try EvalHub.",
    )
    parser.add_argument(
        "--port", type=int, default=0, help="port on 127.0.0.1; 0 (the default) selects a free port"
    )
    port: int = parser.parse_args(arguments).port
    stop = threading.Event()

    def handle(number: int, frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGINT, handle)
    signal.signal(signal.SIGTERM, handle)
    try:
        endpoint = DemoEndpoint(port=port)
    except (OSError, OverflowError) as error:
        parser.error(f"cannot listen on {HOST} port {port}: {error}")
    with endpoint:
        print(endpoint.url, flush=True)  # noqa: T201  this is the program's output
        stop.wait()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
