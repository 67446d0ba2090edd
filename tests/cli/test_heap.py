"""The heap that the threads of a server share."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a parameter of glibc")

HEAPS_OF_THREADS = """
import threading, zlib
from pathlib import Path
from evalhub_server.cli.serve import share_heap

share_heap()
together = threading.Barrier(4)

def work():
    zlib.compressobj()  # larger than what Python allocates itself
    together.wait()

threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
# Each further heap reserves 64 MiB of addresses, of which it uses the beginning.
reserved = 0
for line in Path("/proc/self/maps").read_text().splitlines():
    addresses, protection, _, _, _, *name = line.split()
    start, end = (int(each, 16) for each in addresses.split("-"))
    reserved += protection.startswith("---") and not name and 2**25 < end - start <= 2**26
print(reserved)
"""


def heaps_of_threads(**env: str) -> int:
    command = [sys.executable, "-c", HEAPS_OF_THREADS]
    inherited = {name: value for name, value in os.environ.items() if name != "MALLOC_ARENA_MAX"}
    return int(subprocess.run(command, env={**inherited, **env}, check=True, capture_output=True).stdout)


def test_threads_share_one_heap():
    assert heaps_of_threads() == 0


def test_a_configured_number_of_heaps_counts():
    assert heaps_of_threads(MALLOC_ARENA_MAX="8") > 0
