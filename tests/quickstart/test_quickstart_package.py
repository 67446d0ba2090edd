"""The package as a whole: its imports, its configuration files, and TLS."""

from __future__ import annotations

import json
import pkgutil
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import evalhub_quickstart
from evalhub_quickstart.benchmarks import BENCHMARK_IDS, select_benchmark
from evalhub_quickstart.options import LOAD_TEST
from harness.answering import AnsweringServer
from harness.certificates import Certificate, certificate
from harness.imports import loaded_by
from harness.quickstart import PACKAGE_ROOT, CallbackServer, JobDirectory, chat_answer

CONFIG = Path(__file__).parents[2] / "config"
MODULES = sorted(
    module.name for module in pkgutil.walk_packages(evalhub_quickstart.__path__, "evalhub_quickstart.")
)


def top_level_after(*modules: str) -> set[str]:
    """The top-level modules that a bare interpreter without site-packages has after importing ``modules``."""
    loaded = loaded_by(f"import {', '.join(modules)}", "-S", "-s", env={"PYTHONPATH": PACKAGE_ROOT})
    return {name.partition(".")[0] for name in loaded}


def test_only_the_standard_library_and_evalhub_common_are_imported() -> None:
    assert "evalhub_quickstart.benchmarks.latency" in MODULES
    assert top_level_after(*MODULES) - sys.stdlib_module_names == {
        "__main__",
        "evalhub_common",
        "evalhub_quickstart",
    }


def test_the_adapter_starts_without_expensive_imports() -> None:
    unneeded = {
        "argparse",
        "asyncio",
        "decimal",
        "fractions",
        "multiprocessing",
        "socketserver",
        "subprocess",
    }
    assert not top_level_after("evalhub_quickstart.__main__") & unneeded


def test_the_provider_file_matches_the_package() -> None:
    provider = yaml.safe_load((CONFIG / "providers" / "quickstart.yaml").read_text(encoding="utf-8"))
    assert provider["id"] == "quickstart"
    assert provider["runtime"]["local"]["command"] == '"$EVALHUB_PYTHON" -m evalhub_quickstart'
    assert [benchmark["id"] for benchmark in provider["benchmarks"]] == [*BENCHMARK_IDS, LOAD_TEST]
    for described in provider["benchmarks"][:-1]:
        benchmark = select_benchmark(described["id"])
        assert described["dataset_size"] == len(benchmark.samples(None))
        assert described["primary_score"] == {"metric": benchmark.primary_mark, "lower_is_better": False}
        assert benchmark.primary_mark in described["metrics"]
        assert all(len(text) <= 1024 for text in (described["description"], provider["description"]))


def test_the_collection_has_every_benchmark_but_the_load_test_once() -> None:
    collection = yaml.safe_load((CONFIG / "collections" / "quickstart-v1.yaml").read_text(encoding="utf-8"))
    assert collection["id"] == "quickstart-v1"
    assert {member["provider_id"] for member in collection["benchmarks"]} == {"quickstart"}
    assert [member["id"] for member in collection["benchmarks"]] == list(BENCHMARK_IDS)


def test_the_command_of_the_provider_file_works_in_a_shell(
    job: JobDirectory, callback: CallbackServer, tmp_path: Path
) -> None:
    provider = yaml.safe_load((CONFIG / "providers" / "quickstart.yaml").read_text(encoding="utf-8"))
    interpreter = tmp_path / "a directory with spaces" / "python"
    interpreter.parent.mkdir()
    interpreter.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    interpreter.chmod(0o755)
    job.use("not a url")
    job.spec_file.parent.mkdir(parents=True)
    job.spec_file.write_text(json.dumps(job.document))
    run = subprocess.run(
        ["sh", "-c", provider["runtime"]["local"]["command"]],
        env={
            "EVALHUB_PYTHON": str(interpreter),
            "EVALHUB_JOB_SPEC_PATH": str(job.spec_file),
            "PYTHONPATH": PACKAGE_ROOT,
        },
        capture_output=True,
        check=False,
    )
    assert run.returncode == 1
    assert "model.url cannot be used" in callback.error["message"]


def secure_model(tls: Certificate) -> AnsweringServer:
    return AnsweringServer(lambda _: chat_answer("Answer: 122"), tls=tls)


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return certificate(tmp_path_factory.mktemp("tls"))


def test_https_works_with_a_private_certificate_authority(
    tls: Certificate, job: JobDirectory, callback: CallbackServer, tmp_path: Path
) -> None:
    shutil.copy(tls.crt, tmp_path / "ca_cert")
    with secure_model(tls) as model:
        job.use(model.url)
        job.document["model"]["auth"] = {"secret_ref": tmp_path.as_uri()}
        finished = job.run()
    assert finished.status == 0, finished
    assert callback.last["metrics"]["num_errors"] == 0


def test_an_unknown_certificate_is_not_trusted(
    tls: Certificate, job: JobDirectory, callback: CallbackServer
) -> None:
    with secure_model(tls) as model:
        job.use(model.url)
        assert job.run().status == 1
    assert "the TLS handshake failed" in callback.error["message"]
    assert "'ca_cert'" in callback.error["message"]
    assert model.requests == []


def test_a_ca_file_without_certificates_is_named(
    job: JobDirectory, callback: CallbackServer, tmp_path: Path
) -> None:
    (tmp_path / "ca_cert").write_text("nothing")
    job.use("https://127.0.0.1:9/v1")
    job.document["model"]["auth"] = {"secret_ref": tmp_path.as_uri()}
    assert job.run().status == 1
    assert str(tmp_path / "ca_cert") in callback.error["message"]
