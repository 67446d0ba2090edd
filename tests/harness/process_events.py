"""Counts of the processes and programs that some processes and their descendants start, reported by the kernel of Linux."""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
from typing import Self

NETLINK_CONNECTOR, CN_IDX_PROC, CN_VAL_PROC = 11, 1, 1
NLMSG_DONE, PROC_CN_MCAST_LISTEN = 3, 1
FORK, EXEC = 1, 2
HEADERS = 16 + 20
"""Bytes of the two headers before an event: that of netlink and that of the connector."""


class ProcessEvents:
    """A context manager. Needs the right to administrate the network: :class:`OSError` without it."""

    def __init__(self, *roots: int) -> None:
        self._family = set(roots)
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, NETLINK_CONNECTOR)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**22)
            self._socket.bind((0, CN_IDX_PROC))
            message = struct.pack("=IIIIHHI", CN_IDX_PROC, CN_VAL_PROC, 0, 0, 4, 0, PROC_CN_MCAST_LISTEN)
            self._socket.send(
                struct.pack("=IHHII", 16 + len(message), NLMSG_DONE, 0, 0, os.getpid()) + message
            )
        except OSError:
            self._socket.close()
            raise
        self._socket.settimeout(0.1)
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._read, name="process-events", daemon=True)
        self._end_ns = 0
        self.processes = 0
        self.programs = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """The events until now are counted."""
        self._end_ns = time.monotonic_ns()
        self._left.set()
        self._thread.join()
        self._socket.close()

    def _read(self) -> None:
        while True:
            try:
                event = self._socket.recv(4096)
            except TimeoutError:
                if self._left.is_set():
                    return
                continue
            kind, _cpu, at_ns = struct.unpack_from("=IIQ", event, HEADERS)
            if self._left.is_set() and at_ns > self._end_ns:  # other programs start processes all the time
                return
            _pid, group, child, child_group = struct.unpack_from("=IIII", event, HEADERS + 16)
            if kind == FORK and child == child_group and group in self._family:  # otherwise it is a thread
                self._family.add(child)
                self.processes += 1
            elif kind == EXEC and group in self._family:
                self.programs += 1
