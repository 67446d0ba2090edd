"""Secrets: read from files, and kept out of logs, error texts and adapters."""

from __future__ import annotations

import io
import json
import logging
from pathlib import Path
from typing import Any

import pytest
import structlog

from evalhub_server.errors import SettingsError
from evalhub_server.logs import configure_logs, flush_logs
from evalhub_server.settings import SECRET_VARIABLES, Settings, load_settings
from harness import Config, RunningServer


def load(folder: Path, text: str, **environ: str) -> Settings:
    (folder / "config.yaml").write_text(text, "utf-8")
    return load_settings(local=True, configdir=folder, environ=environ)


def with_secret(
    folder: Path, content: str, *, mapping: str = "db", key: str = "database.url", **environ: str
):
    (folder / "s").mkdir()
    (folder / "s" / "db").write_bytes(content.encode())
    return load(folder, f"secrets: {{dir: '{folder / 's'}', mappings: {{'{mapping}': {key}}}}}", **environ)


@pytest.mark.parametrize(
    ("content", "value"),
    [("x", "x"), ("x\n", "x"), ("x\r\n", "x"), ("x\n\n", "x\n"), (" x ", " x "), ("x\r", "x\r")],
)
def test_one_newline_at_the_end_of_a_secret_file_is_not_part_of_it(tmp_path: Path, content: str, value: str):
    assert with_secret(tmp_path, content).sections["database"] == {"url": value}


def test_secret_files_take_precedence_over_all_other_sources(tmp_path: Path):
    second = tmp_path / "second.yaml"
    second.write_text("database: {url: second}", "utf-8")
    settings = with_secret(tmp_path, "file:s.db", DB_URL="file:v.db", CONFIG_PATH=str(second))
    assert settings.sections["database"]["url"] == "file:s.db"


@pytest.mark.parametrize(("content", "mapping"), [("", "db"), ("\n", "db"), ("x", "gone:optional")])
def test_empty_files_and_missing_optional_ones_set_nothing(tmp_path: Path, content: str, mapping: str):
    assert "database" not in with_secret(tmp_path, content, mapping=mapping).sections


def test_a_name_in_capitals_matches_the_file_in_lower_case(tmp_path: Path):
    assert with_secret(tmp_path, "x", mapping="DB").sections["database"] == {"url": "x"}


def test_a_missing_secret_file_is_refused_with_the_fix(tmp_path: Path):
    with pytest.raises(
        SettingsError, match=r"config\.yaml:1: secrets\.mappings\.gone: there is no file .*:optional"
    ):
        with_secret(tmp_path, "x", mapping="gone")


def test_an_unreadable_secret_file_is_refused_without_its_content(tmp_path: Path):
    (tmp_path / "s" / "db").mkdir(parents=True)
    with pytest.raises(SettingsError, match=r"secrets\.mappings\.db: .* cannot be read: Is a directory"):
        load(tmp_path, f"secrets: {{dir: '{tmp_path / 's'}', mappings: {{db: database.url}}}}")
    (tmp_path / "s" / "bytes").write_bytes(b"hunter2\xff")
    with pytest.raises(SettingsError, match=r"it is not UTF-8") as refused:
        load(tmp_path, f"secrets: {{dir: '{tmp_path / 's'}', mappings: {{bytes: database.url}}}}")
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(("mapping", "warned"), [("a", True), ("a:optional", False)])
def test_a_missing_directory_is_a_warning_if_one_of_its_files_is_required(
    tmp_path: Path, mapping: str, *, warned: bool
):
    settings = load(tmp_path, f"secrets:\n  dir: /nowhere\n  mappings: {{'{mapping}': database.url}}")
    assert [w.line for w in settings.warnings] == ([2] if warned else [])


def test_a_secret_of_the_wrong_type_is_refused_without_its_content(tmp_path: Path):
    with pytest.raises(SettingsError, match=r"secret file .*db: service\.idle_timeout: ") as refused:
        with_secret(tmp_path, "hunter2!", key="service.idle_timeout")
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "environ", "withheld"),
    [
        ("", {}, set()),
        ("env_mappings: {MY_DB: database.url}", {"MY_DB": "file:x"}, {"MY_DB"}),
        ("env_mappings: {MY_DB: database.url}", {}, set()),
        ("env_mappings: {HUB_TOKEN: sidecar.eval_hub.token}", {"HUB_TOKEN": "abcd1234"}, {"HUB_TOKEN"}),
        ("env_mappings: {ML_TOKEN: mlflow.token}", {"ML_TOKEN": "abcd1234"}, set()),
        (
            "database: {url: 'postgres://u:p%40ssword@h/d'}",
            {"PGPASSWORD": "p@ssword", "PGURL": "x p%40ssword", "HOME": "/home/u"},
            {"PGPASSWORD", "PGURL"},
        ),
        ("database: {url: 'host=h password=longenough'}", {"PGPASSWORD": "longenough"}, {"PGPASSWORD"}),
        ("database: {url: 'postgres://u:short@h/d'}", {"WORD": "short"}, set()),
        ("mlflow: {tracking_uri: 'http://u:longenough@h'}", {"ML": "longenough"}, set()),
    ],
)
def test_variables_with_secrets_of_the_server_are_found(
    tmp_path: Path, text: str, environ: dict[str, str], withheld: set[str]
):
    assert load(tmp_path, text, **environ).secrets.variables == SECRET_VARIABLES | withheld


def test_the_configuration_is_shown_without_secrets(tmp_path: Path):
    text = (
        "database: {url: 'postgres://joe:hunter22@db/x'}\n"
        "mlflow: {token: tok123456, tracking_uri: 'https://u:pw123456@ml'}\n"
        "extra: [{Password: deep12345, list: ['http://a:inner1234@b']}]\n"
        "sidecar: {eval_hub: {token: side12345}}\n"
        "env_mappings: {A_TOKEN: mlflow.token}"
    )
    settings = load(tmp_path, text)
    shown = settings.shown()
    assert shown["database"] == {"url": "postgres://joe@db/x"}
    assert shown["mlflow"]["token"] == "[redacted]"
    assert shown["service"]["port"] == 8080
    for secret in ("hunter22", "tok123456", "pw123456", "deep12345", "inner1234", "side12345"):
        assert secret not in str(shown)
        assert secret not in repr(settings)
        assert secret in settings.secrets.values


def test_known_secrets_are_redacted_in_log_lines():
    out = io.StringIO()
    before, raising = structlog.get_config(), logging.raiseExceptions
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        configure_logs("info", out, secrets={"hunter22", 'with "quotes"', "eval", "8080"})
        log = structlog.get_logger()
        log.info("said hunter22", url="x://u:hunter22@h", deep={"a": ["hunter22"]}, path=Path("/hunter22"))
        log.info("evaluation", port=8080, text='so with "quotes"')
        try:
            raise ValueError("hunter22")
        except ValueError:
            log.exception("failed")
        logging.getLogger("other").warning("a %s", "hunter22", exc_info=ValueError("hunter22"))
        flush_logs()
    finally:
        structlog.configure(**before)
        root.handlers[:] = handlers
        root.setLevel(level)
        logging.raiseExceptions = raising
    lines: list[dict[str, Any]] = [json.loads(line) for line in out.getvalue().splitlines()]
    assert "hunter22" not in out.getvalue()
    assert lines[0]["msg"] == "said [redacted]"
    assert lines[0]["deep"] == {"a": ["[redacted]"]}
    assert lines[1]["msg"] == "evaluation"
    assert (lines[1]["port"], lines[1]["text"]) == (8080, "so [redacted]")
    assert "Traceback" in lines[2]["exception"]
    assert len(lines) == 4


def test_neither_logs_nor_adapters_of_a_running_server_see_a_secret(tmp_path: Path):
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "token").write_text("s3cret-token-value\n", "utf-8")
    config = Config(
        tmp_path / "c",
        secrets={"dir": str(secrets), "mappings": {"token": "sidecar.eval_hub.token"}},
        env_mappings={"MY_DB": "database.url"},
    )
    config.scripted("env:MY_DB", "env:COPY", "env:DB_URL", "env:KEPT", "completed")
    env = {"MY_DB": f"file:{tmp_path}/x.db", "COPY": "Bearer s3cret-token-value", "KEPT": "yes"}
    with RunningServer(config.folder, env=env) as server:
        job_id = server.submit()
        assert server.finished(job_id)["status"]["state"] == "completed"
        log = server.logs(job_id)
        dump = [line for line in server.log_lines() if line["msg"] == "End reading configuration"]
        assert dump[0]["config"]["sidecar"]["eval_hub"]["token"] == "[redacted]"
        assert "s3cret-token-value" not in server.log_text()
    for line in ("MY_DB=None", "COPY=None", "DB_URL=None", "KEPT=yes"):
        assert line in log
