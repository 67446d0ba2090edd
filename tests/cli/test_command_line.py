"""The command line: forms of options, listings, and errors with their exit status."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from evalhub_server import __version__
from harness import Config, RunningServer, free_port
from harness.program import run_program
from harness.terminal import run_in_terminal


def run(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return run_program(*arguments, env={**os.environ, **environ})


def in_terminal(*arguments: str, **environ: str) -> tuple[int, str]:
    return run_in_terminal([sys.executable, "-m", "evalhub_server", *arguments], {**os.environ, **environ})


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    return done.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize("flag", ["--version", "-version", "-V"])
def test_version(flag: str):
    done = run(flag)
    assert (done.returncode, done.stdout) == (0, f"eval-hub-server {__version__}\n")


@pytest.mark.parametrize("flag", ["--help", "-help", "-h"])
def test_help_names_flags_and_variables(flag: str):
    done = run(flag)
    assert done.returncode == 0
    for word in (
        "--local",
        "--configdir",
        "--data-dir",
        "demo",
        "plugins",
        "PORT",
        "API_HOST",
        "EVALHUB_DATA_DIR",
    ):
        assert word in done.stdout


@pytest.mark.parametrize(
    "arguments", [["--nope"], ["-local=maybe"], ["nope"], ["demo", "--num-examples", "0"]]
)
def test_wrong_usage_exits_with_status_2(arguments: list[str]):
    done = run(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("Usage: eval-hub-server")


@pytest.mark.parametrize(
    ("arguments", "suggestion"),
    [
        (["chek"], "'check'"),
        (["--configdri", "x"], "--configdir"),
        (["-data-dirr=x"], "--data-dir"),
        (["demo", "--num-exampels", "1"], "--num-examples"),
        (["check", "--jsn"], "--json"),
    ],
)
def test_an_unknown_command_or_option_is_answered_with_a_suggestion(arguments: list[str], suggestion: str):
    done = run(*arguments)
    assert done.returncode == 2
    assert f"Did you mean {suggestion}" in done.stderr.replace("'--", "--")


@pytest.mark.parametrize("command", [[], ["serve"], ["check"], ["init"], ["demo"], ["plugins"]])
def test_help_fits_into_80_columns(command: list[str]):
    plain = run(*command, "--help", COLUMNS="80").stdout
    status, shown = in_terminal(*command, "--help")
    assert status == 0
    for text in (plain, shown):
        assert max(len(line) for line in text.splitlines()) <= 80
    options = {word for word in plain.split() if word.startswith("--")}
    assert [option for option in options if option not in shown] == []


def test_help_and_errors_are_framed_on_a_terminal_and_plain_elsewhere():
    assert "╭" in in_terminal("--help")[1]
    assert "╭" not in run("--help").stdout
    status, shown = in_terminal("chek")
    assert status == 2
    assert "╭" in shown
    assert "Did you mean 'check'?" in shown


def test_options_of_the_command_take_precedence_over_those_before_it(tmp_path: Path):
    write(tmp_path, "service: {port: 0}")
    done = run("--configdir", str(tmp_path / "nope"), "check", "--local", "--configdir", str(tmp_path))
    assert done.returncode == 0
    assert "0 errors" in done.stdout


def test_host_and_port_take_precedence_over_variables_and_files(tmp_path: Path):
    config = Config(tmp_path / "c", service={"port": 1, "host": "192.0.2.1"})
    port = free_port()
    flags = ("serve", "--local", "--configdir", str(config.folder), "-host", "127.0.0.1", f"--port={port}")
    with RunningServer(config.folder, flags=flags, env={"PORT": "2", "API_HOST": "192.0.2.2"}) as server:
        assert server.port == port
        assert server.get("/api/v1/health")["status"] == "healthy"


def test_a_wrong_host_is_reported_with_its_option():
    done = run("--local", "--host", "192.0.2.1", "--port", "0")
    assert done.returncode == 1
    assert "192.0.2.1" in last_line(done)
    assert "--host" in last_line(done)


@pytest.mark.parametrize(
    ("local", "form"),
    [
        ("-local", "-configdir={}"),
        ("--local", "--configdir={}"),
        ("--local=true", "-configdir {}"),
        ("-local=1", "--configdir {}"),
    ],
)
def test_every_form_of_the_flags_starts_the_server(tmp_path: Path, local: str, form: str):
    config = Config(tmp_path / "c")
    with RunningServer(config.folder, flags=(local, *form.format(config.folder).split(" "))) as server:
        assert server.get("/api/v1/health")["status"] == "healthy"


def test_plugins_are_listed_with_their_distribution():
    listed = json.loads(run("plugins", "--json").stdout)
    local = next(plugin for plugin in listed if (plugin["kind"], plugin["name"]) == ("runtime", "local"))
    assert (local["distribution"], local["version"], local["state"]) == (
        "eval-hub-server",
        __version__,
        "available",
    )
    text = run("plugins").stdout
    assert text.splitlines()[0].split() == ["KIND", "NAME", "DISTRIBUTION", "VERSION", "STATE", "HELP"]
    assert "sqlite" in text


def write(folder: Path, text: str) -> str:
    (folder / "config.yaml").write_text(text, "utf-8")
    return str(folder)


@pytest.mark.parametrize(
    ("text", "fragments"),
    [
        ("service: {port: abc}", ["config.yaml:1: service.port: expected `int`"]),
        (
            "service: {port: 0}\nlocal: {max_paralel: 3}",
            ["config.yaml:2: local.max_paralel", "did you mean max_parallel?"],
        ),
        (
            "service: {port: 0}\nlocal: {max_parallel: 0}",
            ["config.yaml:2: local.max_parallel: must be 1 or more"],
        ),
        (
            "service: {port: 0}\ndatabase: {driver: tape}",
            ["storage 'tape'", "Installed storages: postgres, sqlite", "pip install"],
        ),
        (
            "service: {port: 0}\ndatabase: {url: 'postgres://u:pass-of-u@h/d'}",
            ["config.yaml:2: database.url"],
        ),
        ("service: {port: 0}\nplugins: {runtime: slurm}", ["runtime 'slurm'", "pip install"]),
        ("service: {port: 0}\nplugins: {exporters: [nope]}", ["exporter 'nope'", "pip install"]),
        ("service: {port: 0}\nsupervisor: {run_timeout: 3600}", ["supervisor.run_timeout", '"3600s"']),
        (
            "service: {port: 0, tls_cert_file: /no/c, tls_key_file: /no/k}",
            ["service.tls_cert_file", "/no/c", "PEM"],
        ),
    ],
)
def test_a_wrong_configuration_exits_with_status_1_and_one_line(
    tmp_path: Path, text: str, fragments: list[str]
):
    done = run("--local", "--configdir", write(tmp_path, text))
    assert done.returncode == 1
    assert [fragment for fragment in fragments if fragment not in last_line(done)] == []
    assert "Traceback" not in done.stderr
    assert "pass-of-u" not in done.stderr


def test_without_a_cluster_the_first_advice_is_to_add_local(tmp_path: Path):
    environ = {"KUBECONFIG": str(tmp_path / "none")}
    done = run("--configdir", write(tmp_path, "service: {port: 0}"), **environ)
    assert done.returncode == 1
    assert last_line(done).startswith("eval-hub-server: add --local to run evaluations")
    assert "runtime 'kubernetes'" in last_line(done)


def test_without_the_package_for_clusters_the_first_advice_is_to_add_local(tmp_path: Path):
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\nsys.modules['kubernetes_asyncio'] = None\n", "utf-8"
    )
    done = run(PYTHONPATH=str(tmp_path))
    assert done.returncode == 1
    assert last_line(done).startswith("eval-hub-server: add --local to run evaluations")
    assert "pip install 'eval-hub-server[k8s]'" in last_line(done)


def test_an_empty_data_directory_is_refused():
    done = run("--local", "--data-dir", "")  # such as "$VARIABLE" that is not set
    assert done.returncode == 2
    assert "Invalid value for '--data-dir': is empty" in done.stderr


def test_a_port_in_use_is_reported_with_alternatives():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = run("--local", PORT=port)
    assert done.returncode == 1
    for fragment in (f"127.0.0.1:{port}", "PORT=", "service.port"):
        assert fragment in last_line(done)


def test_a_data_directory_that_cannot_be_created_is_refused(tmp_path: Path):
    (tmp_path / "file").touch()
    done = run("--local", "--data-dir", str(tmp_path / "file" / "below"), PORT="0")
    assert done.returncode == 1
    assert "--data-dir" in last_line(done)


def test_bad_provider_files_are_skipped_and_named(tmp_path: Path):
    config = Config(tmp_path / "c")
    config.scripted("completed")
    config.write("providers/noid.yaml", {"name": "x"})
    config.write("providers/broken.yaml", "id: [")
    config.write("providers/again.yaml", {"id": "scripted", "name": "x"})
    config.write(
        "providers/community.yaml",
        {"id": "c", "runtime": {"k8s": {"image_pull_policy": "Always"}, "local": None}},
    )
    config.write("providers/readme.txt", "not a provider")
    config.write("collections/empty.yaml", {"id": "e", "name": "e", "category": "x"})
    with RunningServer(config.folder) as server:
        found = {p["resource"]["id"]: p for p in server.get("/api/v1/evaluations/providers")["items"]}
        skipped = {
            Path(line["file"]).name: line["error"] for line in server.log_lines() if "skipped" in line["msg"]
        }
    assert set(found) == {"scripted", "c"}
    assert found["c"]["runtime"] == {"k8s": {"image_pull_policy": "always"}}
    assert set(skipped) == {"noid.yaml", "broken.yaml", "scripted.yaml", "empty.yaml"}
    assert "id: a string of 1 to 36 characters" in skipped["noid.yaml"]
    assert "line 2" in skipped["broken.yaml"]
    assert "already used in again.yaml" in skipped["scripted.yaml"]
    assert "benchmarks" in skipped["empty.yaml"]


def test_the_start_log_has_the_data_directory(tmp_path: Path):
    config = Config(tmp_path / "c")
    for data_dir, durable in ((None, False), (tmp_path / "d", True)):
        with RunningServer(config.folder, data_dir=data_dir) as server:
            line = [line for line in server.log_lines() if line["msg"] == "API Server starting"][-1]
        assert line["durable"] is durable
        assert line["storage"]
        assert line["url"] == f"http://localhost:{server.port}"


def test_outside_local_mode_the_termination_file_has_the_reason_of_a_failed_start(tmp_path: Path):
    file = tmp_path / "termination-log"
    config = write(tmp_path, f"service: {{port: 0, termination_file: {file}}}")
    done = run("--configdir", config, TERMINATION_FILE=str(tmp_path / "other"))
    assert file.read_text("utf-8") == last_line(done).removeprefix("eval-hub-server: ") + "\n"
    run("--configdir", write(tmp_path, "service: ["), TERMINATION_FILE=str(tmp_path / "other"))
    assert "not valid YAML" in (tmp_path / "other").read_text("utf-8")
    file.unlink()
    run("--local", "--configdir", write(tmp_path, f"service: {{port: x, termination_file: {file}}}"))
    assert not file.exists()


def test_a_misspelt_key_is_a_warning_in_the_log_with_its_line(tmp_path: Path):
    config = Config(tmp_path / "c")
    config.write("config.yaml", f"service:\n  port: 0\n  hots: a\nlocal: {{jobs_dir: '{config.jobs_dir}'}}\n")
    with RunningServer(config.folder) as server:
        warnings = [line["msg"] for line in server.log_lines() if line["level"] == "warning"]
    assert warnings == [
        f"{config.folder}/config.yaml:3: service.hots: unknown key (did you mean host?), ignored"
    ]


def test_a_server_with_an_unread_log_continues(tmp_path: Path):
    config = Config(tmp_path / "c")
    config.scripted("running", "completed")
    reader, writer = os.pipe()
    with RunningServer(config.folder, stderr=writer, port=free_port()) as server:
        os.close(writer)
        os.close(reader)
        for _ in range(3):
            assert server.finished(server.submit())["status"]["state"] == "completed"


def test_a_provider_file_whose_name_is_not_utf_8_is_loaded(tmp_path: Path):
    config = Config(tmp_path / "c")
    config.scripted("completed")
    bad = os.fsencode(config.folder / "providers") + b"/\xff.yaml"
    Path(os.fsdecode(bad)).write_text("id: odd", "utf-8")
    with RunningServer(config.folder) as server:
        found = {p["resource"]["id"] for p in server.get("/api/v1/evaluations/providers")["items"]}
    assert found == {"scripted", "odd"}


def test_adapters_do_not_inherit_variables_that_set_a_secret(tmp_path: Path):
    url = f"file:{tmp_path}/own.db"
    config = Config(tmp_path / "c", env_mappings={"MY_DB": "database.url"})
    config.scripted("env:MY_DB", "env:DB_URL", "env:OTHER", "completed")
    with RunningServer(config.folder, env={"MY_DB": url, "DB_URL": url, "OTHER": "seen"}) as server:
        job_id = server.submit()
        server.finished(job_id)
        assert server.logs(job_id).splitlines()[1:] == ["MY_DB=None", "DB_URL=None", "OTHER=seen"]
