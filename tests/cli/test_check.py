"""``eval-hub-server check``: reports every problem with its location and the fix, and starts nothing."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from harness import Config, free_port
from harness.frameworks import stand_in
from harness.program import run_program


def check(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    env = {**{k: v for k, v in os.environ.items() if k not in ("PORT", "API_HOST")}, **environ}
    return run_program("check", *arguments, env=env)


def findings(config: Config, *arguments: str) -> list[dict[str, Any]]:
    done = check("--local", "--configdir", str(config.folder), "--json", *arguments)
    report = json.loads(done.stdout)
    assert done.returncode == (0 if report["ok"] else 1)
    return report["findings"]


def files_below(folder: Path) -> set[str]:
    return {str(path) for path in folder.rglob("*")}


def test_a_valid_configuration_exits_with_0_and_prints_one_line(tmp_path: Path):
    config = Config(tmp_path / "c")
    config.scripted("completed")
    before = files_below(tmp_path)
    done = check("--local", "--configdir", str(config.folder), "--data-dir", str(tmp_path / "data"))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{config.folder}/config.yaml, 1 provider, 0 collections: 0 errors, 0 warnings\n"
    assert files_below(tmp_path) == before


def test_a_data_directory_that_others_can_write_is_an_error(tmp_path: Path):
    config, data = Config(tmp_path / "c"), tmp_path / "data"
    config.scripted("completed")
    data.mkdir()
    data.chmod(0o777)
    (found,) = findings(config, "--data-dir", str(data))
    assert found["severity"] == "error"
    assert f"Run: chmod go-w {data}" in found["message"]
    assert list(data.iterdir()) == []


def test_a_folder_of_samples_that_others_can_write_is_an_error(tmp_path: Path):
    folder = tmp_path / "samples"
    config = Config(tmp_path / "c", samples={"url": str(folder)})
    config.scripted("completed")
    assert findings(config) == []
    assert not folder.exists()
    folder.mkdir()
    folder.chmod(0o777)
    (found,) = findings(config)
    assert found["severity"] == "error"
    assert found["message"].startswith("samples.url: ")
    assert f"Run: chmod go-w {folder}" in found["message"]


def test_a_database_for_several_servers_needs_samples_that_all_of_them_have(tmp_path: Path):
    database = {"driver": "postgres", "url": f"postgres://user:secret-word@127.0.0.1:{free_port()}/evalhub"}
    config = Config(tmp_path / "c", database=database)
    config.scripted("completed")
    unreachable, found = findings(config)
    assert unreachable["severity"] == "warning"
    assert "Check that the database server runs" in unreachable["message"]
    assert "secret-word" not in unreachable["message"]
    assert found["severity"] == "info"
    assert "samples are not kept; several servers on this database need a bucket" in found["message"]
    _, found = findings(config, "--data-dir", str(tmp_path / "data"))
    assert f"samples are in the folder {tmp_path}/data/samples; several servers" in found["message"]


def test_the_bundled_configuration_is_valid(tmp_path: Path):
    """A framework that is not installed is no more than information."""
    report = json.loads(check("-local", "-json", EVALHUB_ADAPTERS_DIR=str(tmp_path)).stdout)
    assert report["ok"] is True
    assert [each for each in report["findings"] if each["severity"] != "info"] == []


def test_flags_may_stand_before_the_command(tmp_path: Path):
    config = Config(tmp_path / "c", service={"port": "abc"})
    done = run_program("-configdir", str(config.folder), "--local", "check")
    assert done.returncode == 1
    assert done.stdout.startswith(f"error: {config.folder}/config.yaml:")


def test_every_problem_is_named_with_its_line_and_its_fix(tmp_path: Path):
    config = Config(tmp_path / "c")
    config.write(
        "config.yaml",
        "service:\n  port: abc\n  idle_timeout: soon\n  hots: a\nlocal:\n  max_parallel: 0\n"
        "plugins:\n  storage: tape\n  exporters: [fax]\n",
    )
    config.write("providers/a.yaml", "id: a\nbenchmarks:\n  - id: one\n  - name: nameless\n")
    config.write("providers/b.yaml", "id: b\nname: b\nbenchmarks:\n  - id: one\n    num_few_shot: many\n")
    config.write("providers/c.yaml", "name: c\nid: [")
    config.write("providers/good.yaml", "id: good\nname: g\nbenchmarks:\n  - id: one\n")
    config.write("providers/same.yaml", "name: s\nid: good\n")
    config.write("collections/c.yaml", "id: c\nname: c\n")
    config.write(
        "collections/d.yaml",
        "id: d\nname: d\ncategory: x\nbenchmarks:\n  - {id: one, provider_id: good}\n"
        "  - {id: onne, provider_id: good}\n  - id: one\n    provider_id: goood\n",
    )
    found = [(f["severity"], Path(f["source"]).name, f["line"], f["message"]) for f in findings(config)]
    expected = [
        ("error", "config.yaml", 2, "service.port: expected `int`"),
        ("error", "config.yaml", 3, "service.idle_timeout: 'soon' is not a duration; write"),
        ("warning", "config.yaml", 4, "service.hots: unknown key (did you mean host?)"),
        ("error", "config.yaml", 0, "storage 'tape' is selected but no installed plugin provides it"),
        ("error", "config.yaml", 6, "local.max_parallel: must be 1 or more"),
        ("error", "config.yaml", 0, "exporter 'fax' is selected"),
        ("error", "a.yaml", 4, "benchmarks[1].id: is required"),
        ("error", "b.yaml", 5, "benchmarks[0].num_few_shot: expected `int`, got `str`; write a whole number"),
        ("error", "c.yaml", 3, "not valid YAML"),
        ("error", "same.yaml", 2, "id: 'good' is already used in good.yaml"),
        ("error", "c.yaml", 0, "category: is required"),
        ("error", "c.yaml", 0, "benchmarks: is required"),
        ("warning", "d.yaml", 6, "benchmarks[1].id: provider 'good' has no benchmark 'onne'; did you mean 'one'?"),
        ("warning", "d.yaml", 8, "benchmarks[2].provider_id: no file defines a provider 'goood'; did you"),
    ]  # fmt: skip
    assert [(*f[:3], f[3][: len(e[3])]) for f, e in zip(found, expected, strict=True)] == expected


def test_names_of_other_benchmarks_that_do_not_fit_are_warnings(tmp_path: Path):
    config = Config(tmp_path)
    benchmarks = [
        {"id": "one", "generating_twin": "tow"},
        {"id": "two", "alias_of": "two"},
        {"id": "three", "alias_of": "four"},
        {"id": "four", "alias_of": "one"},
    ]
    config.write("providers/a.yaml", {"id": "a", "benchmarks": benchmarks})
    alias = {"id": "alias", "alias_of": "unlisted"}
    config.write("providers/b.yaml", {"id": "b", "any_benchmark": True, "benchmarks": [alias]})
    member = {"id": "unlisted", "provider_id": "b"}
    config.write("collections/c.yaml", {"id": "c", "name": "c", "category": "x", "benchmarks": [member]})
    assert [found["message"] for found in findings(config)] == [
        "benchmarks[0].generating_twin: the provider has no benchmark 'tow'; did you mean 'two'?",
        "benchmarks[1].alias_of: names the benchmark itself; name another one, or remove the key",
        "benchmarks[2].alias_of: 'four' is an alias itself; name 'one'",
    ]


def test_a_primary_metric_that_the_benchmark_does_not_report_is_a_warning(tmp_path: Path):
    config = Config(tmp_path / "c")
    config.write(
        "providers/a.yaml",
        "id: a\nbenchmarks:\n"
        "  - id: one\n    metrics: [exact_match]\n    primary_score: {metric: exact_mach}\n"
        "  - id: two\n    metrics: [acc]\n    primary_score: {metric: acc}\n"
        "  - id: unlisted\n    primary_score: {metric: acc}\n",
    )
    config.write(
        "collections/c.yaml",
        "id: c\nname: c\ncategory: x\nbenchmarks:\n"
        "  - {id: two, provider_id: a, primary_score: {metric: acc}}\n"
        "  - {id: two, provider_id: a, primary_score: {metric: f1}}\n",
    )
    found = [(f["severity"], Path(f["source"]).name, f["line"], f["message"]) for f in findings(config)]
    metric = "primary_score.metric: the benchmark has no metric"
    assert found == [
        ("warning", "a.yaml", 5, f"benchmarks[0].{metric} 'exact_mach'; did you mean 'exact_match'?"),
        ("warning", "c.yaml", 6, f"benchmarks[1].{metric} 'f1'"),
    ]


def test_a_command_whose_program_does_not_exist_is_a_warning(tmp_path: Path):
    missing = {
        "no-such-program --flag": "no-such-program",
        "A=1 exec no-such-program": "no-such-program",
        "/no/such/program x": "/no/such/program",
        "./no-such-script.sh": "./no-such-script.sh",
        "sh -c 'x'": None,
        '"$EVALHUB_PYTHON" -m x': None,
        "cd /tmp; ./x": None,
        "$HOME/no-such-program": None,
        "PATH=/opt/x no-such-program": None,
        "'unbalanced": None,
        "./adapter.sh": None,
    }
    (tmp_path / "adapter.sh").touch(mode=0o755)
    config = Config(tmp_path / "c", local={"CWD": str(tmp_path)})
    expected = set()
    for number, (command, program) in enumerate(missing.items()):
        config.provider(command, provider_id=f"p{number}", env={"A": "b"})
        if program:
            text = f"there is no program '{program}'; install it, or write the path of an existing one"
            expected.add(("warning", f"p{number}.yaml", f"runtime.local.command: {text}"))
    found = [(f["severity"], Path(f["source"]).name, f["message"]) for f in findings(config)]
    assert len(found) == len(expected)
    assert set(found) == expected


def test_bundled_collections_without_their_providers_are_named_in_one_line(tmp_path: Path):
    config = Config(tmp_path / "c")
    config.provider("true")
    (config.folder / "collections").rmdir()
    (found,) = findings(config)
    assert found["severity"] == "info"
    assert found["message"].startswith(
        "13 bundled collections without their providers not served: chat-quick-v1, "
    )
    done = check("--local", "--configdir", str(config.folder))
    assert done.stdout.splitlines()[-1].endswith("1 provider, 0 collections: 0 errors, 0 warnings")
    config.write("config.yaml", {"catalog": {"bundled": True}})
    # A framework that is not installed is worth an information.
    assert {found["severity"] for found in findings(config)} <= {"info"}
    done = check("--local", "--configdir", str(config.folder))
    assert done.stdout.splitlines()[-1].endswith("11 providers, 13 collections: 0 errors, 0 warnings")


def test_text_has_one_line_for_each_problem(tmp_path: Path):
    config = Config(tmp_path / "c", service={"hots": 1})
    config.write("collections/c.yaml", "id: c\n")
    done = check("--local", "--configdir", str(config.folder))
    assert done.returncode == 1
    assert [line.partition(":")[0] for line in done.stdout.splitlines()] == [
        "warning",
        *["error"] * 3,
        f"{config.folder}/config.yaml, 0 providers, 0 collections",
    ]


def test_a_wrong_value_is_explained_with_the_description_of_its_setting(tmp_path: Path):
    config = Config(tmp_path / "c", service={"port": "abc"}, supervisor={"stop_grace": "soon"})
    port, grace = findings(config)
    assert port["hint"] == "Port of the API. 0 takes a free one."
    assert grace["hint"].startswith("Grace period between SIGTERM and SIGKILL")
    done = check("--local", "--configdir", str(config.folder))
    assert "write a whole number. Port of the API. 0 takes a free one.\n" in done.stdout


def test_a_bad_file_whose_name_is_not_utf_8_is_reported(tmp_path: Path):
    config = Config(tmp_path / "c")
    Path(os.fsdecode(os.fsencode(config.folder / "providers") + b"/\xff.yaml")).write_text("x: 1", "utf-8")
    (found,) = findings(config)
    assert found["source"].endswith("ff.yaml")


def test_warnings_do_not_fail(tmp_path: Path):
    config = Config(tmp_path / "c", service={"hots": 1})
    assert [found["severity"] for found in findings(config)] == ["warning"]


def test_a_runtime_that_is_not_installed_is_an_error_that_suggests_local(tmp_path: Path):
    config = Config(tmp_path / "c", plugins={"runtime": "slurm"})
    done = check("--configdir", str(config.folder))
    assert done.returncode == 1
    assert "runtime 'slurm'" in done.stdout
    assert "--local" in done.stdout


def test_secrets_are_not_printed(tmp_path: Path):
    config = Config(tmp_path / "c", database={"url": "postgres://joe:hunter22@db/x"})
    done = check("--local", "--configdir", str(config.folder), PORT="hunter22")
    assert done.returncode == 1
    assert "hunter22" not in done.stdout + done.stderr


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_a_missing_directory_is_one_error(tmp_path: Path, flags: list[str]):
    done = check("--configdir", str(tmp_path / "nope"), *flags)
    assert (done.returncode, done.stderr) == (1, "")
    assert "no such directory" in done.stdout


def test_a_gate_policy_is_checked_with_the_configuration(tmp_path: Path):
    config = Config(tmp_path / "c")
    config.scripted("completed")
    policy = tmp_path / "policy.yaml"
    policy.write_text(
        "margin: 0.02\nbenchmarks:\n  - {provider_id: scripted, id: nothing}\n", encoding="utf-8"
    )
    (found,) = findings(config, "--policy", str(policy))
    assert (found["severity"], found["source"], found["line"]) == ("warning", str(policy), 3)
    assert found["message"] == "benchmarks[0]: no provider file has a benchmark 'scripted/nothing'"
    policy.write_text("margin: 0.02\nallpha: 0.1\n", encoding="utf-8")
    (found,) = findings(config, "--policy", str(policy))
    assert (found["severity"], found["source"], found["line"]) == ("error", str(policy), 2)


def test_environments_of_providers_are_looked_up(tmp_path: Path):
    config = Config(tmp_path / "c")
    stand_in(tmp_path / "adapters", "garak")
    (tmp_path / "venv" / "bin").mkdir(parents=True)

    def provider(provider_id: str, **local: Any) -> None:
        config.write(f"providers/{provider_id}.yaml", {"id": provider_id, "runtime": {"local": local}})

    provider("installed", command="python -m x", environment="garak")
    provider("not-installed", command="python -m x", environment="inspect")
    provider("no-venv", command="true", venv=str(tmp_path / "none"))
    provider("venv", command="no-such-program", venv=str(tmp_path / "venv"))
    provider("variable", command="true", env=[{"name": "A", "value_from_env": "NOT_SET_ANYWHERE"}])
    arguments = ("--local", "--configdir", str(config.folder), "--json")
    variables = {"EVALHUB_ADAPTERS_DIR": str(tmp_path / "adapters")}
    done = check(*arguments, **variables)
    found = {Path(each["source"]).stem: each for each in json.loads(done.stdout)["findings"]}
    assert {name: each["severity"] for name, each in found.items()} == {
        "no-venv": "warning",
        "not-installed": "info",
        "variable": "warning",
        "venv": "warning",
    }
    assert found["not-installed"]["message"] == (
        "runtime.local.environment: the framework 'inspect' is not installed; run: eval-hub-server adapters install inspect"
    )
    assert "there is no virtual environment at" in found["no-venv"]["message"]
    assert "there is no variable NOT_SET_ANYWHERE" in found["variable"]["message"]
    (tmp_path / "adapters" / "garak").chmod(0o777)
    done = check(*arguments, **variables)
    assert "chmod go-w" in done.stdout


def test_what_a_launch_refuses_or_ignores_is_reported(tmp_path: Path):
    config = Config(tmp_path / "c")

    def provider(provider_id: str, *benchmarks: str, **local: Any) -> None:
        listed = [{"id": each} for each in benchmarks]
        runtime = {"local": {"command": "true", **local}}
        config.write(
            f"providers/{provider_id}.yaml", {"id": provider_id, "runtime": runtime, "benchmarks": listed}
        )

    provider("mapping", env={"A": "b"})
    provider("text", env=["A=b"])
    provider("nameless", env=[{"nam": "A", "value": "b"}])
    provider("nowhere", cwd=str(tmp_path / "none"))
    provider("twice", "b", "c", "b")
    found = {Path(each["source"]).stem: (each["severity"], each["message"]) for each in findings(config)}
    assert found == {
        "mapping": ("error", "runtime.local.env: must be a list of {name, value}"),
        "text": ("error", "runtime.local.env[0]: must be {name, value}"),
        "nameless": ("warning", "runtime.local.env[0].name: is missing, so adapters do not get the variable"),
        "nowhere": (
            "warning",
            f"runtime.local.cwd: there is no directory {tmp_path}/none; create it, or correct the path",
        ),
        "twice": (
            "warning",
            "benchmarks[2].id: benchmarks[0] has the id 'b', too; jobs get the first of them",
        ),
    }


INVALID_LOCAL = {
    "environment: must be one of: lm_evaluation_harness, inspect, garak": {
        "command": "c",
        "environment": "torch",
    },
    "venv: cannot be combined with runtime.local.environment": {
        "command": "c",
        "environment": "garak",
        "venv": "/v",
    },
    "venv: must be the path of a virtual environment: absolute, or below ~/": {
        "command": "c",
        "venv": "relative",
    },
    "command: is required with an environment or a venv": {"venv": "/v"},
    "env[0].value_from_env: must be the name of an environment variable": {
        "command": "c",
        "env": [{"name": "A", "value_from_env": "a b"}],
    },
    "env[1].value_from_env: cannot be combined with value": {
        "command": "c",
        "env": [{"name": "A", "value": "x"}, {"name": "B", "value": "x", "value_from_env": "C"}],
    },
}


def test_a_wrong_environment_is_an_error_of_the_file(tmp_path: Path):
    config = Config(tmp_path / "c")
    expected: dict[str, str] = {}
    for index, (message, local) in enumerate(INVALID_LOCAL.items()):
        config.write(f"providers/p{index}.yaml", {"id": f"p{index}", "runtime": {"local": local}})
        expected[f"p{index}"] = f"runtime.local.{message}"
    k8s = {"image": "i", "env": [{"name": "A", "value_from_env": "B"}]}
    config.write("providers/k8s.yaml", {"id": "k8s", "runtime": {"k8s": k8s}})
    expected["k8s"] = "runtime.k8s.env[0].value_from_env: works in runtime.local only"
    found = findings(config)
    assert {Path(each["source"]).stem: each["message"] for each in found} == expected
    assert {each["severity"] for each in found} == {"error"}
    assert all(each["line"] > 0 for each in found)
