"""Test harness: real server processes, scripted adapters, plain HTTP, and real or fake services around them."""

from harness.config import Config
from harness.server import Answer, RunningServer
from harness.waiting import free_port, processes_with, wait_until

__all__ = ["Answer", "Config", "RunningServer", "free_port", "processes_with", "wait_until"]
