"""What a framework finds in its process before it is imported: environment variables, working directory, certificates."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, MutableMapping
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from evalhub_common.adapter.console import say
from evalhub_common.adapter.errors import JobInvalid
from evalhub_common.adapter.model import Model
from evalhub_common.adapter.program import Run

ENVIRONMENT = {
    "DO_NOT_TRACK": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TQDM_DISABLE": "1",
}
"""Read by frameworks and their packages when they are imported."""
HUB = "https://huggingface.co"
HUB_TIMEOUT_S = 5.0


def prepare(run: Run, model: Model, environ: MutableMapping[str, str]) -> None:
    """Set what the framework reads from ``environ``, and change to the directory of the test data, if the job has some.

    Raises:
        JobInvalid: the CA file beside the API key cannot be read.
    """
    for name, value in ENVIRONMENT.items():
        environ.setdefault(name, value)
    if model.secret.hf_token:
        environ.setdefault("HF_TOKEN", model.secret.hf_token)
    if model.secret.ca_file:
        bundle = run.address.directory / "ca-bundle.pem"
        write_bundle(Path(model.secret.ca_file), bundle)
        environ.update({"SSL_CERT_FILE": str(bundle), "REQUESTS_CA_BUNDLE": str(bundle)})
    # The package datasets prefers folders of the working directory to the Hub.
    if data := test_data_directory(environ):
        os.chdir(data)
    if not is_offline(environ) and not is_hub_reachable(environ):
        say("the Hugging Face Hub cannot be reached: data sets are taken from the local cache only")
        environ.update({"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"})


def test_data_directory(environ: Mapping[str, str]) -> Path | None:
    """The directory of the job's test data; None if it has none."""
    data = environ.get("EVALHUB_TEST_DATA_DIR")
    return Path(data) if data and Path(data).is_dir() else None


def write_bundle(ca_file: Path, bundle: Path) -> None:
    """Write the certificates of ``ca_file`` and the public ones to ``bundle``.

    Raises:
        JobInvalid: ``ca_file`` cannot be read.
    """
    try:
        own = ca_file.read_bytes()
    except OSError as error:
        raise JobInvalid(f"the CA certificates in {ca_file} cannot be read: {error.strerror}") from error
    found = find_spec("certifi")
    public = Path(found.origin).with_name("cacert.pem") if found and found.origin else None
    bundle.write_bytes(own + b"\n" + (public.read_bytes() if public and public.is_file() else b""))


def is_offline(environ: Mapping[str, str]) -> bool:
    """Whether a variable keeps the packages of Hugging Face offline."""
    return any(
        environ.get(name, "").upper() in ("1", "ON", "YES", "TRUE")
        for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE")
    )


def is_hub_reachable(environ: Mapping[str, str]) -> bool:
    """Whether the Hub accepts connections; True behind a proxy, where it cannot be known.

    Without this check, packages retry for minutes before they report that there is no network.
    """
    if any(environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")):
        return True
    parts = urlsplit(environ.get("HF_ENDPOINT") or HUB)
    address = (parts.hostname or "", parts.port or (80 if parts.scheme == "http" else 443))
    try:
        socket.create_connection(address, HUB_TIMEOUT_S).close()
    except OSError:
        return False
    return True
