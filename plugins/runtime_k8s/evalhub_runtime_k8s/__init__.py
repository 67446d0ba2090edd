"""Runs adapters as Jobs of a Kubernetes cluster."""
