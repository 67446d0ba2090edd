"""Files, environment and flags become settings; what is wrong is named with file, key and fix."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from evalhub_server.errors import SettingsError
from evalhub_server.settings import bundled_config_dir, load_settings


def write(folder: Path, text: str) -> Path:
    (folder / "config.yaml").write_text(text, "utf-8")
    return folder


def test_the_bundled_configuration_serves_without_a_config_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    settings = load_settings(local=True, environ={})
    assert settings.config_file == bundled_config_dir() / "config.yaml"
    assert settings.host == "127.0.0.1"
    assert settings.service.port == 8080
    assert settings.warnings == ()
    assert (settings.providers_dir / "quickstart.yaml").is_file()


def test_a_config_folder_in_the_working_directory_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "config").mkdir()
    write(tmp_path / "config", "service: {port: 9000}")
    monkeypatch.chdir(tmp_path)
    assert load_settings(local=True, environ={}).service.port == 9000


@pytest.mark.parametrize("variable", ["flag", "EVAL_HUB_CONFIG_DIR"])
def test_the_config_directory_is_named_by_flag_or_variable(tmp_path: Path, variable: str):
    write(tmp_path, "service: {port: 9000}")
    if variable == "flag":
        settings = load_settings(local=True, configdir=tmp_path, environ={"EVAL_HUB_CONFIG_DIR": "/nowhere"})
    else:
        settings = load_settings(local=True, environ={variable: str(tmp_path)})
    assert settings.service.port == 9000


def test_variables_win_over_the_file_and_empty_ones_do_not_count(tmp_path: Path):
    write(tmp_path, "service: {port: 9000, host: 127.0.0.2}\nenv_mappings: {my_db: database.url}")
    environ = {"PORT": "9001", "API_HOST": "", "MY_DB": "file:x.db", "EVALHUB_DATA_DIR": str(tmp_path / "d")}
    settings = load_settings(local=True, configdir=tmp_path, environ=environ)
    assert (settings.service.port, settings.service.host) == (9001, "127.0.0.2")
    assert settings.sections["database"] == {"url": "file:x.db"}
    assert settings.data_dir == tmp_path / "d"


def test_the_data_dir_flag_wins_over_the_variable(tmp_path: Path):
    settings = load_settings(
        local=True,
        configdir=write(tmp_path, ""),
        data_dir=Path("rel"),
        environ={"EVALHUB_DATA_DIR": "/other"},
    )
    assert settings.data_dir == Path.cwd() / "rel"


def test_providers_fall_back_to_the_bundled_ones_when_the_folder_is_missing(tmp_path: Path):
    settings = load_settings(local=True, configdir=write(tmp_path, "{}"), environ={})
    assert settings.providers_dir == bundled_config_dir() / "providers"
    (tmp_path / "providers").mkdir()
    assert load_settings(local=True, configdir=tmp_path, environ={}).providers_dir == tmp_path / "providers"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("service: {port: abc}", r"config\.yaml: service\.port: expected `int`"),
        ("service: {port: 70000}", r"service\.port: 70000 is not a port; choose"),
        ("service: [", r"config\.yaml: not valid YAML: .*line 2"),
        ("- a\n- b", r"config\.yaml: expected sections"),
        ("service: {idle_timeout: soon}", r"service\.idle_timeout: 'soon' is not a duration"),
        ("service: {tls_cert_file: a}", r"set both, or neither"),
        ("env_mappings: [1]", r"env_mappings: expected a map"),
        ("service: 5", r"config\.yaml: service: expected `object`"),
        ("a: [1, .nan]", r"config\.yaml: nan is not a number that JSON has"),
        ("a: &a [x, *a]", r"config\.yaml: more than 200000 values"),
        (
            "".join(f"{c}: &{c} [{', '.join([f'*{p}'] * 30)}]\n" for p, c in pairwise("zabcdefg")).replace(
                "*z", "1"
            ),
            r"do its aliases repeat too much",
        ),
        ("[" * 5000, r"not valid YAML"),
    ],
)
def test_a_wrong_file_is_refused_naming_file_and_key(tmp_path: Path, text: str, complaint: str):
    with pytest.raises(SettingsError, match=complaint):
        load_settings(local=True, configdir=write(tmp_path, text), environ={})


def test_a_missing_directory_or_file_is_refused_with_the_fix(tmp_path: Path):
    with pytest.raises(SettingsError, match=r"no such directory.*config\.yaml"):
        load_settings(local=True, configdir=tmp_path / "nope", environ={})
    with pytest.raises(SettingsError, match=r"no config\.yaml in this directory.*bundled"):
        load_settings(local=True, configdir=tmp_path, environ={})


def test_unknown_keys_are_warnings_and_upstream_ones_are_nothing(tmp_path: Path):
    text = "service: {prot: 1, read_timeout: 15s}\nsupervisor: {linger: 1s, lingr: 2s}"
    settings = load_settings(local=True, configdir=write(tmp_path, text), environ={})
    assert [warning.partition("config.yaml: ")[2] for warning in settings.warnings] == [
        "service.prot: unknown key (did you mean port?), ignored",
        "supervisor.lingr: unknown key (did you mean linger?), ignored",
    ]


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("", "http://localhost:81"),
        ("127.0.0.1", "http://127.0.0.1:81"),
        ("0.0.0.0", "http://localhost:81"),
        ("::", "http://localhost:81"),
        ("::1", "http://[::1]:81"),
        ("host.test", "http://host.test:81"),
    ],
)
def test_adapters_are_told_an_address_that_they_can_reach(tmp_path: Path, host: str, url: str):
    settings = load_settings(
        local=True, configdir=write(tmp_path, f"service: {{host: '{host}'}}"), environ={}
    )
    assert settings.callback_url(81) == url


def test_adapters_are_told_https_when_the_server_speaks_it(tmp_path: Path):
    text = "service: {tls_cert_file: c, tls_key_file: k}"
    assert (
        load_settings(local=True, configdir=write(tmp_path, text), environ={})
        .callback_url(1)
        .startswith("https:")
    )
