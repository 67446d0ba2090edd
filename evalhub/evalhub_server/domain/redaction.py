"""Redaction: documents for other systems without passwords, tokens and keys."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, TypeVar, cast
from urllib.parse import unquote_plus

from msgspec.structs import replace

from evalhub_common.callback_tokens import redact_callback_tokens
from evalhub_server.models.common import Message

T = TypeVar("T")

MASK = "***"

_ALONE = frozenset(
    [
        "apikey",
        "token",
        "accesstoken",
        "authtoken",
        "apitoken",
        "bearertoken",
        "hftoken",
        "idtoken",
        "refreshtoken",
        "sessiontoken",
        "securitytoken",
        "authorization",
        "proxyauthorization",
        "bearer",
        "cookie",
        "setcookie",
        "credential",
        "credentials",
        "passwd",
        "password",
        "passphrase",
        "accesskey",
        "accountkey",
        "encryptionkey",
        "privatekey",
        "secret",
        "secretaccesskey",
        "secretkey",
        "sharedkey",
        "signingkey",
        "subscriptionkey",
        "clientsecret",
        "sastoken",
    ]
)
"""Whole names of secrets, in lower case without ``-`` and ``_``."""

_WITH_ANY_PREFIX = (
    "apikey",
    "accesstoken",
    "authtoken",
    "apitoken",
    "bearertoken",
    "hftoken",
    "refreshtoken",
    "sessiontoken",
    "securitytoken",
    "authorization",
    "password",
    "passphrase",
    "accesskey",
    "accountkey",
    "encryptionkey",
    "privatekey",
    "secretaccesskey",
    "secretkey",
    "subscriptionkey",
    "clientsecret",
)
"""Names that mean a secret after any prefix, as in ``judge_api_key``. Not ``token``: see ``eos_token``."""

_PROVIDERS = frozenset(
    [
        "anthropic",
        "aws",
        "azure",
        "azureopenai",
        "bedrock",
        "cohere",
        "databricks",
        "deepinfra",
        "deepseek",
        "fireworks",
        "gcp",
        "gemini",
        "github",
        "gitlab",
        "google",
        "groq",
        "hf",
        "hfhub",
        "hub",
        "huggingface",
        "huggingfacehub",
        "ibm",
        "ibmcloud",
        "judge",
        "kaggle",
        "langfuse",
        "langsmith",
        "litellm",
        "llama",
        "llm",
        "minio",
        "mistral",
        "mistralai",
        "mlflow",
        "model",
        "moonshot",
        "ngc",
        "nim",
        "novita",
        "nvidia",
        "oci",
        "ollama",
        "openai",
        "openrouter",
        "perplexity",
        "quay",
        "rag",
        "registry",
        "replicate",
        "s3",
        "sambanova",
        "tavily",
        "tgi",
        "together",
        "togetherai",
        "vertex",
        "vertexai",
        "vllm",
        "voyage",
        "wandb",
        "watsonx",
        "watson",
        "xai",
        "zhipu",
    ]
)
_QUERY_ALONE = frozenset(
    ["key", "sig", "signature", "code", "auth", "xamzsignature", "xamzcredential", "xgoogsignature"]
)
"""Names that mean a secret only as parameters of a URL, as in Google's ``?key=`` and signed URLs."""

_ASSIGNMENT = re.compile(
    r"""(?<![\w.-])(?P<head>-{0,2}["']?(?P<name>[A-Za-z][\w.-]{0,63})\\{0,3}["']?\s{0,4}(?:=|:(?!//))\s{0,4}(?:(?:Bearer|Basic|Token)\s+)?)"""
    r"""(?P<value>\\{1,3}"[^"]*"|"[^"]*"|'[^']*'|[^\s,;&"'})\]]+)""",
    re.IGNORECASE,
)
"""``name=value`` and ``name: value`` in a text, as in ``pretrained=x,api_key=sk-1``, YAML, JSON and headers."""
_OPTION = re.compile(r"(?P<head>(?<!\S)--?(?P<name>[A-Za-z][\w.-]{0,63})\s{1,4})(?P<value>[^\s-]\S*)")
"""``--name value`` of a command line."""
_NO_SECRET = re.compile(r"[\"']?(?:true|false|none|null|yes|no|-?\d{1,9}(?:\.\d+)?|)[\"']?", re.IGNORECASE)

_URL = re.compile(r"\b[A-Za-z][A-Za-z0-9+.\-]{0,30}://[^\s\"'<>`]+")
_PARAMETER = re.compile(r"(?<=[?&;#])([^?&;#=]+)=([^&;#]+)")


def redacted(value: T) -> T:
    """Return a JSON document in which secrets are replaced by ``***``.

    Secrets are the texts below names of secrets at any depth, also in pairs of ``name`` and ``value``, and, in every text,
    user-info and secret query parameters of URLs, and values after names of secrets (``api_key=…``, ``--hf-token …``).
    Numbers, booleans and keys of objects are kept.
    """
    return cast("T", _redacted(value))


def _redacted(value: Any) -> Any:
    if isinstance(value, str):
        return redacted_text(value)
    if isinstance(value, dict):
        document = cast("dict[str, Any]", value)
        name = document.get("name", document.get("key"))
        secret_pair = isinstance(name, str) and is_secret_name(name)
        return {
            key: MASK
            if isinstance(item, str) and item and (is_secret_name(key) or (secret_pair and key == "value"))
            else _redacted(item)
            for key, item in document.items()
        }
    if isinstance(value, list | tuple):
        return _redacted_list(cast("list[Any]", value))
    return value


def _redacted_list(items: Sequence[Any]) -> list[Any]:
    """The items, redacted, also the value that follows ``--api-key`` in the arguments of a command."""
    result: list[Any] = []
    previous: Any = None
    for item in items:
        after_option = isinstance(previous, str) and previous.startswith("-") and is_secret_name(previous)
        result.append(MASK if after_option and isinstance(item, str) and item else _redacted(item))
        previous = item
    return result


def redacted_text(text: str) -> str:
    """Return a text without secrets: those of URLs and values of secret names are ``***``; callback tokens are removed."""
    if "://" in text:
        text = _URL.sub(_redacted_url, text)
    if "=" in text or ":" in text:
        text = _ASSIGNMENT.sub(_redacted_value, text)
    if "-" in text:
        text = _OPTION.sub(_redacted_value, text)
    return redact_callback_tokens(text)


def redacted_message(message: Message) -> Message:
    """Return a message whose text has no secrets, as :func:`redacted_text`."""
    return replace(message, message=redacted_text(message.message))


def is_secret_name(name: str) -> bool:
    """Whether a parameter with this name holds a secret if its value is a text; case, ``-`` and ``_`` are ignored."""
    plain = name.casefold().replace("-", "").replace("_", "")
    if plain in _ALONE or plain.endswith(_WITH_ANY_PREFIX):
        return True
    return any(
        plain.endswith(suffix) and plain.removesuffix(suffix) in _PROVIDERS
        for suffix in ("token", "key", "secret")
    )


def _redacted_value(match: re.Match[str]) -> str:
    head, name, value = match["head"], match["name"].rpartition(".")[2], match["value"]
    if not is_secret_name(name) or _NO_SECRET.fullmatch(value):
        return match[0]
    quote = value[: len(value) - len(value.lstrip("\\")) + 1] if value[0] in "\\\"'" else ""
    return f"{head}{quote}{MASK}{quote}"


def _redacted_url(match: re.Match[str]) -> str:
    scheme, _, rest = match[0].partition("://")
    end = next((at for at, character in enumerate(rest) if character in "/?#\\"), len(rest))
    authority, remainder = rest[:end], rest[end:]
    user, separator, host = authority.rpartition("@")
    if separator and user:
        authority = f"{MASK}@{host}"
    return f"{scheme}://{authority}{_PARAMETER.sub(_redacted_parameter, remainder)}"


def _redacted_parameter(match: re.Match[str]) -> str:
    name = unquote_plus(match[1])
    plain = name.casefold().replace("-", "").replace("_", "")
    return f"{match[1]}={MASK}" if plain in _QUERY_ALONE or is_secret_name(name) else match[0]
