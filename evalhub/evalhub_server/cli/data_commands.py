"""Commands about the data of a server: ``backup``, ``restore``, ``verify`` and ``prune``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from evalhub_server.cli.help import Command
from evalhub_server.cli.server_options import DIRECTORY, server_flags, server_options


@click.command("backup", cls=Command)
@click.argument("target", type=DIRECTORY, metavar="DIR")
@server_options
@click.pass_context
def backup_command(context: click.Context, *, target: Path, **_options: Any) -> int:
    """Back up a server's database, samples, artifacts and logs to DIR.

    The server may be running; use its options and environment. DIR must be missing or empty. It is complete when it has a
    manifest.json. Exits with 1 if the data have faults, which are listed; the backup has them, too.
    """
    from evalhub_server.cli.backup import run_backup

    return run_backup(target, **server_flags(context))


@click.command("restore", cls=Command)
@click.argument("backup", type=DIRECTORY, metavar="DIR")
@server_options
@click.pass_context
def restore_command(context: click.Context, *, backup: Path, **_options: Any) -> int:
    """Restore the backup DIR to a new data directory.

    The directory of --data-dir must be missing or empty, and so must a database that is not in it.
    """
    from evalhub_server.cli.backup import run_restore

    return run_restore(backup, **server_flags(context))


@click.command("verify", cls=Command)
@click.argument("backup", type=DIRECTORY, metavar="[DIR]", required=False)
@server_options
@click.pass_context
def verify_command(context: click.Context, *, backup: Path | None, **_options: Any) -> int:
    """Verify the backup DIR, or without it the data of a server.

    Checks the database, decodes every record, and compares the files that records name with their digests. The server may be
    running. Exits with 1 if anything is wrong.
    """
    from evalhub_server.cli.backup import run_verify

    return run_verify(backup, **server_flags(context))


@click.command("prune", cls=Command)
@click.option("--dry-run", is_flag=True, help="Show what would be deleted, and delete nothing.")
@server_options
@click.pass_context
def prune_command(context: click.Context, *, dry_run: bool, **_options: Any) -> int:
    """Delete what the section "retention" of the configuration does not keep.

    A running server does that by itself, so this is for one that is stopped. With --dry-run, the server may be running.
    """
    from evalhub_server.cli.prune import run_prune

    return run_prune(dry_run=dry_run, **server_flags(context))


COMMANDS = (backup_command, restore_command, verify_command, prune_command)
