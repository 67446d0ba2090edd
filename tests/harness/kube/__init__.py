"""A Kubernetes cluster for tests: a real HTTP server that behaves like the API server, with scripted controllers.

It knows the resources that this project uses, and of each the behaviour that this project can meet: resource versions
and conflicts, lists in pages, watches with bookmarks and 410, rights, validation, dry runs, owner references,
foreground and background deletion, pod logs, and whatever a test injects: refusals, delays, outages.
"""

from harness.kube.cluster import TENANT, FakeCluster
from harness.kube.faults import Fault, Hold, RateLimit
from harness.kube.pods import PodScript

__all__ = ["TENANT", "FakeCluster", "Fault", "Hold", "PodScript", "RateLimit"]
