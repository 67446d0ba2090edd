"""What tests of the whole server share: a real server process, scripted adapters, plain HTTP."""

from harness.config import Config
from harness.server import Answer, RunningServer
from harness.waiting import free_port, processes_with, wait_until

__all__ = ["Answer", "Config", "RunningServer", "free_port", "processes_with", "wait_until"]
