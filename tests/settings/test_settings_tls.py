"""HTTPS: a valid certificate and key are used; invalid ones are reported before the server starts."""

from __future__ import annotations

import ssl
import subprocess
import urllib.request
from pathlib import Path

import pytest

from evalhub_server.errors import SettingsError
from evalhub_server.settings import load_settings
from harness import Config, RunningServer
from harness.certificates import certificate


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``a.crt`` and ``a.key`` belong together; ``b.key`` belongs to another certificate, ``c.key`` is ``a.key`` with a password."""
    folder = tmp_path_factory.mktemp("certificates")
    for name in ("a", "b"):
        certificate(folder, name)
    encrypt = ["openssl", "rsa", "-in", "a.key", "-aes256", "-passout", "pass:x", "-out", "c.key"]
    subprocess.run(encrypt, cwd=folder, check=True, capture_output=True)
    (folder / "d.crt").write_text("no certificate", "utf-8")
    return folder


@pytest.mark.parametrize(
    ("cert", "key", "complaint"),
    [
        ("a.crt", "", r"service\.tls_cert_file: service\.tls_key_file is not set\. Set both, or neither"),
        ("", "a.key", r"service\.tls_key_file: service\.tls_cert_file is not set"),
        ("gone.crt", "a.key", r"service\.tls_cert_file: .*gone\.crt cannot be read: No such file"),
        ("a.crt", "gone.key", r"service\.tls_key_file: .*gone\.key cannot be read"),
        (
            "a.crt",
            "b.key",
            r"service\.tls_key_file: .*b\.key does not belong to .*a\.crt\. Set a certificate",
        ),
        ("a.crt", "c.key", r"service\.tls_cert_file: .*cannot be used .*its key without a password"),
        ("d.crt", "a.key", r"service\.tls_cert_file: .*cannot be used .*PEM"),
    ],
)
def test_unusable_certificate_files_are_refused(
    tmp_path: Path, certificates: Path, cert: str, key: str, complaint: str
):
    lines = ["service:"]
    lines += [f"  tls_cert_file: {certificates / cert}"] if cert else []
    lines += [f"  tls_key_file: {certificates / key}"] if key else []
    (tmp_path / "config.yaml").write_text("\n".join(lines), "utf-8")
    with pytest.raises(SettingsError, match=r"config\.yaml:\d: " + complaint):
        load_settings(local=True, configdir=tmp_path, environ={})


def test_a_valid_pair_serves_https_and_adapters_get_that_address(tmp_path: Path, certificates: Path):
    service = {"tls_cert_file": str(certificates / "a.crt"), "tls_key_file": str(certificates / "a.key")}
    config = Config(tmp_path / "c", service=service)
    with RunningServer(config.folder) as server:
        trust = ssl.create_default_context(cafile=str(certificates / "a.crt"))
        url = f"https://localhost:{server.port}/api/v1/health"
        with urllib.request.urlopen(url, context=trust, timeout=30) as answer:
            assert answer.status == 200
        started = [line for line in server.log_lines() if line["msg"] == "API Server starting"]
    assert started[0]["url"] == f"https://localhost:{server.port}"
