"""Arguments in, exit status out: 0 done, 1 failed, 2 wrong usage."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from evalhub_server import __version__
from evalhub_server.cli.output import OutputError
from evalhub_server.errors import EvalHubError

PROGRAM = "eval-hub-server"
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # it has no public name

_EPILOG = """\
environment:
  PORT, API_HOST          where to listen (default 127.0.0.1:8080)
  EVAL_HUB_CONFIG_DIR     like --configdir
  EVALHUB_DATA_DIR        like --data-dir
  LOG_LEVEL               debug, info, warn or error
  DB_URL                  database, such as file:/var/lib/evalhub/evalhub.db
  EVALHUB_LOAD_PLUGINS    third-party plugins to load, comma-separated (default: all)

Flags may be written with one dash or two, and with a blank or "=" before the value.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit status."""
    arguments = _parser().parse_args(_two_dashes(sys.argv[1:] if argv is None else argv))
    try:
        # Each command imports what it needs: "plugins" must not wait for the web server's imports.
        if arguments.command == "plugins":
            from evalhub_server.cli.plugins import list_plugins

            return list_plugins(as_json=arguments.json)
        if arguments.command == "demo":
            from evalhub_server.cli.demo import DemoOptions, run_demo

            return run_demo(
                DemoOptions(
                    model_url=arguments.model_url,
                    model_name=arguments.model_name,
                    num_examples=arguments.num_examples,
                    timeout_s=arguments.timeout,
                    as_json=arguments.json,
                )
            )
        if arguments.command == "init":
            from evalhub_server.cli.init import init

            return init(arguments.dir)
        if arguments.command == "check":
            from evalhub_server.cli.check import check

            return check(
                local=arguments.local,
                configdir=arguments.configdir,
                data_dir=arguments.data_dir,
                as_json=arguments.json,
            )
        from evalhub_server.cli.signals import end_on_signals

        end_on_signals()
        from evalhub_server.cli.serve import serve

        return serve(local=arguments.local, configdir=arguments.configdir, data_dir=arguments.data_dir)
    except OutputError as error:
        if not error.closed:
            sys.stderr.write(f"{PROGRAM}: {error}\n")
        return 1
    except EvalHubError as error:
        sys.stderr.write(f"{PROGRAM}: {' '.join(str(error).split())}\n")
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Runs LLM evaluations. Without a command: serve the REST API.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    _add_server_flags(parser)
    commands = parser.add_subparsers(dest="command", title="commands", metavar="")
    _add_demo(commands)
    _add_check(commands)
    init = commands.add_parser(
        "init", help="write a first configuration with a sample provider", allow_abbrev=False
    )
    init.add_argument("dir", type=Path, metavar="DIR", help="directory to write into; made if missing")
    plugins = commands.add_parser("plugins", help="list installed plugins", allow_abbrev=False)
    plugins.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _add_server_flags(parser: argparse.ArgumentParser, default: Mapping[str, Any] | None = None) -> None:
    """``default`` is an argument of every flag."""
    default = default or {}
    parser.add_argument(
        "--local",
        type=_boolean,
        metavar="BOOL",
        help="run adapters as processes of this computer, without authentication (--local alone means true)",
        **{"default": False, **default},  # pyright: ignore[reportArgumentType]
    )
    parser.add_argument(
        "--configdir",
        type=Path,
        metavar="DIR",
        help="directory with config.yaml, providers/ and collections/ (default: ./config, else the bundled one)",
        **default,
    )
    parser.add_argument(
        "--data-dir",
        type=Path,
        metavar="DIR",
        help="keep the database and job directories here, so that everything survives a restart",
        **default,
    )


def _add_check(commands: Commands) -> None:
    check = commands.add_parser(
        "check",
        help="say what is wrong with configuration, providers and collections",
        description="Look at everything that a start would read, with the same flags and environment. Starts nothing.",
        epilog="The exit status is 1 if there is an error; warnings do not count.",
        allow_abbrev=False,
    )
    # Suppressed, or the defaults would win over flags that stand before the command.
    _add_server_flags(check, {"default": argparse.SUPPRESS})
    check.add_argument("--json", action="store_true", help="print JSON")


def _add_demo(commands: Commands) -> None:
    demo = commands.add_parser(
        "demo",
        help="run a small evaluation from start to end and show its results",
        description="Start the server and a small stand-in model, run the quickstart benchmarks, print the results.",
        epilog="An API key for --model-url is taken from OPENAI_API_KEY.",
        allow_abbrev=False,
    )
    demo.add_argument(
        "--model-url", type=_not_empty, metavar="URL", help="evaluate this OpenAI-compatible endpoint instead"
    )
    demo.add_argument("--model-name", type=_not_empty, metavar="NAME", help="its model, such as llama3.2:3b")
    demo.add_argument(
        "--num-examples", type=_positive, metavar="N", help="samples per benchmark (default: all)"
    )
    demo.add_argument(
        "--timeout",
        type=_positive,
        default=3600,
        metavar="SECONDS",
        help="give up after this long (default: 3600)",
    )
    demo.add_argument("--json", action="store_true", help="print the final job resource alone")


def _two_dashes(argv: Sequence[str]) -> list[str]:
    """Go's flag style: one dash is as good as two, and a switch needs no value."""
    words: list[str] = []
    for word in argv:
        if word.startswith("-") and not word.startswith("--") and len(word) > 2:
            word = f"-{word}"  # noqa: PLW2901
        words.append("--local=true" if word == "--local" else word)
    return words


def _boolean(text: str) -> bool:
    if text.lower() in ("1", "t", "true"):
        return True
    if text.lower() in ("0", "f", "false"):
        return False
    raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")


def _not_empty(text: str) -> str:
    if not text.strip():
        # Mostly a variable that is not set; the stand-in is not what they mean to evaluate.
        raise argparse.ArgumentTypeError("is empty; leave it out to evaluate the stand-in")
    return text


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)
