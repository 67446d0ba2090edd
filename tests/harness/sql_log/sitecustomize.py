"""Loaded by Python at its start if this folder is on ``PYTHONPATH``: writes each SQLite statement to a file.

The file is named by ``EVALHUB_TEST_SQL_LOG``; a line is one statement. Other processes are not affected.
"""

import os
import sqlite3

LOG = os.environ.get("EVALHUB_TEST_SQL_LOG")
connect = sqlite3.connect


def logged(*args, **kwargs):
    connection = connect(*args, **kwargs)
    file = os.open(LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    connection.set_trace_callback(
        lambda text: os.write(file, text.replace("\n", " ").encode("utf-8", "replace") + b"\n")
    )
    return connection


if LOG:
    sqlite3.connect = logged
