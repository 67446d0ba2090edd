"""The command line: ``eval-hub-server``."""

from evalhub_server.cli.main import main

__all__ = ["main"]
