"""Subcommands that other distributions add."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from harness.site import Site

GREETING = """
import click


@click.command()
@click.option("--name", default="you")
@click.pass_context
def greet(context, name):
    click.echo(f"hello {name}")
    context.exit(3)
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Distributions with good, broken and duplicate commands. Importing the broken one leaves a file."""
    site = Site(tmp_path_factory.mktemp("commands") / "site")

    def install(distribution: str, source: str, *commands: str) -> None:
        module = distribution.replace("-", "_")
        points = "\n".join(f"{command} = {module}:greet" for command in commands)
        site.install(
            distribution,
            source,
            entry_points=f"[evalhub.commands]\n{points}\n",
            summary=f"Summary of {distribution}",
        )

    install("greeter", GREETING, "greet", "check")
    install("broken", f"open({str(site.folder / 'imported')!r}, 'w').close()\n1 / 0\n", "break")
    install("odd", "greet = 5\n", "odd")
    install("twin-one", GREETING, "twin")
    install("twin-two", GREETING, "twin")
    return site


def run(site: Site, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(site.folder), **environ}
    command = [sys.executable, "-m", "evalhub_server", *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)


def test_a_command_runs_with_its_options_and_exit_status(site: Site):
    done = run(site, "greet", "--name", "tests")
    assert (done.returncode, done.stdout, done.stderr) == (3, "hello tests\n", "")


def test_help_lists_commands_with_their_summary_and_imports_none(site: Site):
    done = run(site, "--help")
    assert done.returncode == 0
    assert "  greet" in done.stdout
    assert "Summary of greeter" in done.stdout
    assert not (site.folder / "imported").exists()


def test_unknown_commands_are_compared_with_them_too(site: Site):
    assert "Did you mean 'greet'?" in run(site, "gret").stderr


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("break", "The command 'break' of broken cannot be imported: ZeroDivisionError: division by zero"),
        ("odd", "The command 'odd' of odd is a int, not a click.Command. Report this to its author."),
        ("twin", "Two distributions have the command 'twin': twin-one and twin-two. Uninstall one."),
    ],
)
def test_a_command_that_cannot_run_is_reported_with_its_distribution(site: Site, command: str, message: str):
    done = run(site, command)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_the_list_of_plugins_has_commands_and_what_is_wrong_with_them(site: Site):
    listed = json.loads(run(site, "plugins", "--json").stdout)
    errors = {
        (each["distribution"], each["name"]): each.get("error", "")
        for each in listed
        if each["kind"] == "command"
    }
    same = "another distribution has a command with this name"
    assert errors == {
        ("greeter", "greet"): "",
        ("greeter", "check"): "eval-hub-server has a command with this name",
        ("broken", "break"): "",
        ("odd", "odd"): "",
        ("twin-one", "twin"): same,
        ("twin-two", "twin"): same,
    }


def test_commands_that_the_environment_does_not_name_are_absent(site: Site):
    done = run(site, "greet", EVALHUB_LOAD_PLUGINS="odd")
    assert done.returncode == 2
    assert "No such command 'greet'" in done.stderr
    assert run(site, "twin", EVALHUB_LOAD_PLUGINS="twin-one").returncode == 3
