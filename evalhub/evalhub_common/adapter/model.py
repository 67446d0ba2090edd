"""The ``model`` object of job.json: the endpoint, the API key, and parameters for the request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import unquote

from evalhub_common.adapter.connection import Target, parse_url
from evalhub_common.adapter.errors import JobInvalid
from evalhub_common.adapter.json_values import JsonObject, as_object, describe

KEY_VARIABLE = "OPENAI_API_KEY"
RESERVED_FIELDS = ("messages", "model", "prompt", "stream")
CHAT_PATH = "/chat/completions"
COMPLETIONS_PATH = "/completions"


@dataclass(frozen=True, kw_only=True)
class Secret:
    """An API key, and a description of its source for error messages. The keys are not part of the repr.

    ``ca_file`` is the path of a CA bundle beside the key, ``hf_token`` a token of the Hugging Face Hub; or None.
    """

    api_key: str | None = field(repr=False)
    origin: str
    ca_file: str | None = None
    hf_token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True)
class Model:
    """One model behind an OpenAI-compatible endpoint, whose paths are below ``base``.

    ``parameters`` are added to every request body.
    """

    name: str
    base: Target
    secret: Secret
    parameters: JsonObject

    @property
    def chat(self) -> Target:
        """The address of chat completions."""
        return self._below(CHAT_PATH)

    @property
    def completions(self) -> Target:
        """The address of completions, which continue a text."""
        return self._below(COMPLETIONS_PATH)

    def request(self, defaults: JsonObject, explicit: JsonObject) -> JsonObject:
        """A request body without the prompt. ``explicit`` takes precedence over the model's parameters, these over ``defaults``.

        Members that are None are left out: a null in ``model.parameters`` omits a field that some endpoints refuse.
        """
        body = dict(defaults)
        # The newer name of the same limit; endpoints refuse requests with both.
        if "max_completion_tokens" in self.parameters:
            body.pop("max_tokens", None)
        body |= self.parameters
        body |= {name: value for name, value in explicit.items() if value is not None}
        return {"model": self.name, **{name: value for name, value in body.items() if value is not None}}

    def _below(self, path: str) -> Target:
        return replace(self.base, path=self.base.path + path)


def read_model(value: object, environ: Mapping[str, str]) -> Model:
    """Validate the ``model`` object and read its secret.

    Raises:
        JobInvalid: the text names the field, its value and the allowed ones.
    """
    model = as_object(value)
    if model is None:
        raise JobInvalid(f"model is {describe(value)}: it must be an object with url and name")
    name, url = model.get("name"), model.get("url")
    if not isinstance(name, str) or not name.strip():
        raise JobInvalid(
            f"model.name is {describe(name)}: it must be the name that the endpoint knows the model by"
        )
    if not isinstance(url, str) or not url.strip():
        raise JobInvalid(f"model.url is {describe(url)}: it must be a URL such as http://127.0.0.1:8000/v1")
    return Model(
        name=name,
        base=base_target(url),
        secret=_secret(model.get("auth"), environ),
        parameters=_request_parameters(model.get("parameters")),
    )


def base_target(url: str, name: str = "model.url") -> Target:
    """The base address of the endpoint in the field ``name``, without a slash at the end.

    ``http://host:port`` → ``/v1`` is added; ``…/v1`` or any other path is used as it is, without a final
    ``/chat/completions`` or ``/completions``. A query (an API version, say) is kept.

    Raises:
        JobInvalid: it is not a usable URL.
    """
    try:
        base = parse_url(url)
    except ValueError as error:
        raise JobInvalid(f"{name} cannot be used: {error}") from error
    path = base.path.rstrip("/")
    suffix = CHAT_PATH if path.endswith(CHAT_PATH) else COMPLETIONS_PATH
    return replace(base, path=path.removesuffix(suffix) if path else "/v1")


def _request_parameters(value: object) -> JsonObject:
    if value is None:
        return {}
    parameters = as_object(value)
    if parameters is None:
        raise JobInvalid(f"model.parameters is {describe(value)}: it must be an object")
    for name in RESERVED_FIELDS:
        if name in parameters:
            raise JobInvalid(f"model.parameters.{name} cannot be set: the adapter sets it itself")
    return parameters


def _secret(auth: object, environ: Mapping[str, str]) -> Secret:
    reference = (as_object(auth) or {}).get("secret_ref")
    if reference is None or reference == "":
        key = environ.get(KEY_VARIABLE, "").strip()
        if not key:
            return Secret(
                api_key=None, origin=f"no API key was sent: {KEY_VARIABLE} and model.auth are not set"
            )
        return Secret(api_key=_sendable(key, KEY_VARIABLE), origin=f"the API key came from {KEY_VARIABLE}")
    if not isinstance(reference, str) or not reference.startswith("file:///"):
        raise JobInvalid(
            f"model.auth.secret_ref is {describe(reference)}: it must be file:///dir, "
            "the absolute path of a directory with a file 'api-key'"
        )
    directory = Path(unquote(reference.removeprefix("file://")))
    ca_file = directory / "ca_cert"
    ca_name = str(ca_file) if ca_file.is_file() else None
    token_file = directory / "hf-token"
    token = token_file.read_text(encoding="utf-8", errors="replace").strip() if token_file.is_file() else None
    key_file = directory / "api-key"
    try:
        key = key_file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        if (ca_name or token) and isinstance(error, FileNotFoundError):
            origin = f"no API key was sent: {key_file} does not exist"
            return Secret(api_key=None, origin=origin, ca_file=ca_name, hf_token=token)
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise JobInvalid(
            f"model.auth.secret_ref: cannot read the API key from {key_file}: {reason}"
        ) from error
    return Secret(
        api_key=_sendable(key, str(key_file)),
        origin=f"the API key came from {key_file}",
        ca_file=ca_name,
        hf_token=token,
    )


def _sendable(key: str, origin: str) -> str:
    """``key`` if an HTTP header can carry it. The text of the error does not contain it."""
    if not key or any(character <= " " or character > "~" for character in key):
        raise JobInvalid(
            f"the API key from {origin} is empty or contains characters that an HTTP header cannot carry "
            "(only printable ASCII without spaces can be sent)"
        )
    return key
