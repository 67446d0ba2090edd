"""Settings from files, environment and options, in the documented order of precedence."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from evalhub_server.errors import SettingsError
from evalhub_server.settings import ENVIRONMENT, Settings, bundled_config_dir, load_settings


def write(folder: Path, text: str) -> Path:
    (folder / "config.yaml").write_text(text, "utf-8")
    return folder


def load(folder: Path, text: str, **environ: str) -> Settings:
    return load_settings(local=True, configdir=write(folder, text), environ=environ)


def test_the_bundled_configuration_serves_without_a_config_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    settings = load_settings(local=True, environ={})
    assert settings.config_file == bundled_config_dir() / "config.yaml"
    assert settings.host == "127.0.0.1"
    assert settings.service.port == 8080
    assert settings.warnings == ()
    assert (settings.providers_dirs()[0] / "quickstart.yaml").is_file()


def test_a_config_folder_in_the_working_directory_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "config").mkdir()
    write(tmp_path / "config", "service: {port: 9000}")
    monkeypatch.chdir(tmp_path)
    assert load_settings(local=True, environ={}).service.port == 9000


@pytest.mark.parametrize("variable", ["flag", "EVAL_HUB_CONFIG_DIR"])
def test_flag_or_variable_sets_the_config_directory(tmp_path: Path, variable: str):
    write(tmp_path, "service: {port: 9000}")
    if variable == "flag":
        settings = load_settings(local=True, configdir=tmp_path, environ={"EVAL_HUB_CONFIG_DIR": "/nowhere"})
    else:
        settings = load_settings(local=True, environ={variable: str(tmp_path)})
    assert settings.service.port == 9000


@pytest.mark.parametrize("name", ["config.yml", "config.json", "config"])
def test_other_names_of_the_file_are_found_and_read_as_yaml(tmp_path: Path, name: str):
    (tmp_path / name).write_text('{"service": {"port": 9000}}', "utf-8")
    assert load_settings(local=True, configdir=tmp_path, environ={}).config_file == tmp_path / name


def test_a_missing_directory_or_file_is_refused_with_the_fix(tmp_path: Path):
    with pytest.raises(SettingsError, match=r"nope: no such directory.*--configdir.*config\.yaml"):
        load_settings(local=True, configdir=tmp_path / "nope", environ={})
    with pytest.raises(SettingsError, match=r"no config\.yaml in this directory.*bundled"):
        load_settings(local=True, environ={"EVAL_HUB_CONFIG_DIR": str(tmp_path)})


def test_variables_override_the_file_and_empty_ones_are_ignored(tmp_path: Path):
    text = "service: {port: 9000, host: 127.0.0.2}\nenv_mappings: {my_db: database.url}"
    data_dir = str(tmp_path / "d")
    settings = load(tmp_path, text, PORT="9001", API_HOST="", MY_DB="file:x.db", EVALHUB_DATA_DIR=data_dir)
    assert (settings.service.port, settings.service.host) == (9001, "127.0.0.2")
    assert settings.sections["database"] == {"url": "file:x.db"}
    assert settings.data_dir == tmp_path / "d"


def test_the_data_dir_flag_overrides_the_variable(tmp_path: Path):
    settings = load_settings(
        local=True,
        configdir=write(tmp_path, ""),
        data_dir=Path("rel"),
        environ={"EVALHUB_DATA_DIR": "/other"},
    )
    assert settings.data_dir == Path.cwd() / "rel"


def test_variables_of_the_released_server_work_with_any_file(tmp_path: Path):
    values = dict.fromkeys(ENVIRONMENT, "a")
    for variable in ("PORT", "METRICS_PORT"):
        values[variable] = "81"
    for variable in ("EVALHUB_TOKEN_CACHE_TIMEOUT", "MLFLOW_TOKEN_CACHE_TIMEOUT"):
        values[variable] = "5m"
    values |= {"EVALHUB_INSECURE_SKIP_VERIFY": "true", "OTEL_METRIC_EXPORT_INTERVAL": "15s"}
    del values["TLS_CERT_FILE"], values["TLS_KEY_FILE"]
    settings = load(tmp_path, "", **values)
    assert (settings.service.port, settings.service.host) == (81, "a")
    assert settings.sections["database"] == {"driver": "a", "url": "a"}
    assert set(settings.sections["mlflow"]) == {"tracking_uri", "ca_cert_path", "token_path", "workspace"}
    assert (settings.sidecar.eval_hub.ca_cert_path, settings.sidecar.eval_hub.insecure_skip_verify) == (
        "a",
        True,
    )
    assert settings.sidecar.eval_hub.token_cache_timeout == settings.sidecar.mlflow.token_cache_timeout == 300
    assert (settings.prometheus.host, settings.prometheus.port) == ("a", 81)
    assert settings.otel.metric_export_interval == 15


def test_a_bare_number_of_the_otel_export_interval_is_milliseconds(tmp_path: Path):
    settings = load(tmp_path, "", OTEL_METRIC_EXPORT_INTERVAL="60000")
    assert settings.otel.metric_export_interval == 60


def test_sections_of_the_second_file_replace_whole_sections_and_values_of_variables(tmp_path: Path):
    second = tmp_path / "second.yaml"
    second.write_text("Service: {host: 127.0.0.3}\nenv_mappings: {X: service.port}", "utf-8")
    text = "service: {port: 9000, idle_timeout: 1s}\nsupervisor: {linger: 5s}"
    settings = load(tmp_path, text, PORT="9001", CONFIG_PATH=str(second))
    assert (settings.service.host, settings.service.port, settings.service.idle_timeout) == (
        "127.0.0.3",
        8080,
        60,
    )
    assert settings.supervisor.linger == 5
    assert [str(warning) for warning in settings.warnings] == [
        f"{second}:2: env_mappings: has no effect in the file of CONFIG_PATH"
    ]


def test_a_missing_second_file_is_refused_with_its_variable(tmp_path: Path):
    with pytest.raises(SettingsError, match=r"gone\.yaml: cannot be read.*CONFIG_PATH"):
        load(tmp_path, "", CONFIG_PATH=str(tmp_path / "gone.yaml"))


def test_providers_fall_back_to_the_bundled_ones_when_the_folder_is_missing(tmp_path: Path):
    assert load(tmp_path, "{}").providers_dirs() == (bundled_config_dir() / "providers",)
    (tmp_path / "providers").mkdir()
    assert load(tmp_path, "{}").providers_dirs() == (tmp_path / "providers",)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("service: [", r"config\.yaml:2: not valid YAML: while parsing a flow"),
        ("a: 1\nb: @x", r"config\.yaml:2: not valid YAML: .*cannot start any token"),
        ("- a\n- b", r"config\.yaml: expected sections"),
        ("a: [1, .nan]", r"config\.yaml: nan cannot be represented in JSON"),
        ("a: &a [x, *a]", r"config\.yaml: more than 200000 values"),
        ("a: {? [b] : c}", r"config\.yaml:1: not valid YAML: .*unhashable"),
        (
            "".join(f"{c}: &{c} [{', '.join([f'*{p}'] * 30)}]\n" for p, c in pairwise("zabcdefg")).replace(
                "*z", "1"
            ),
            r"check its aliases",
        ),
        (
            "a: {k: 1}\n"
            + "".join(
                f"{c}: &{c} {{<<: [{', '.join([f'*{p}'] * 30)}]}}\n" for p, c in pairwise("zabcdefg")
            ).replace("*z", "{k: 1}"),
            r"check its aliases",
        ),
        ("a: &a {b: {c: *a}}", r"or a value that contains itself"),
        ("[" * 5000, r"not valid YAML"),
        ("- " * 5000, r"not valid YAML"),
        ("a: !!python/object/apply:os.system [id]", r"config\.yaml:1: not valid YAML: could not determine"),
        ("service: {port: 1,\n port: 2}", r"config\.yaml:2: port: given twice, here and on line 1"),
        ("service: {port: 1, port: 2}", r"port: given twice"),
        (
            "service: {Port: 1, port: 2}",
            r"config\.yaml:1: service\.port: given twice, as 'Port' and 'port'",
        ),
    ],
)
def test_a_malformed_file_is_refused_with_the_line(tmp_path: Path, text: str, complaint: str):
    with pytest.raises(SettingsError, match=complaint):
        load(tmp_path, text)


def test_a_file_over_4_mib_is_refused_before_it_is_parsed(tmp_path: Path):
    limit = 4 * 1024 * 1024
    load(tmp_path, "{}".ljust(limit))
    with pytest.raises(SettingsError, match=r"config\.yaml: larger than 4 MiB; split the file"):
        load(tmp_path, "[not YAML".ljust(limit + 1))


def test_merged_maps_may_repeat_keys(tmp_path: Path):
    text = "base: &b {port: 1, host: a}\nservice:\n  <<: *b\n  port: 9000"
    settings = load(tmp_path, text)
    assert (settings.service.port, settings.service.host) == (9000, "a")


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
def test_the_callback_url_is_reachable_for_adapters(tmp_path: Path, host: str, url: str):
    assert load(tmp_path, f"service: {{host: '{host}'}}").callback_url(81) == url
