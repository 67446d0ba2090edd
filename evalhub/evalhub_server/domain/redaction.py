"""Redaction: documents for other systems without passwords, tokens and keys."""

from __future__ import annotations

import re
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

_URL = re.compile(r"\b[A-Za-z][A-Za-z0-9+.\-]{0,30}://[^\s\"'<>`]+")
_PARAMETER = re.compile(r"(?<=[?&;#])([^?&;#=]+)=([^&;#]+)")


def redacted(value: T) -> T:
    """Return a JSON document in which secrets are replaced by ``***``.

    Secrets are the texts below names of secrets at any depth, also in pairs of ``name`` and ``value``, and, in every text,
    user-info and secret query parameters of URLs. Numbers, booleans and keys of objects are kept.
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
        return [_redacted(item) for item in cast("list[Any]", value)]
    return value


def redacted_text(text: str) -> str:
    """Return a text with the secrets of the URLs in it replaced by ``***``, and without callback tokens."""
    return redact_callback_tokens(_URL.sub(_redacted_url, text) if "://" in text else text)


def redacted_message(message: Message) -> Message:
    """Return a message with the secrets of the URLs in its text replaced by ``***``."""
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
