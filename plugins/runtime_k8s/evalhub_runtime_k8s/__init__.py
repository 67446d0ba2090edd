"""Runtime plugin ``kubernetes``: runs adapters as Jobs of a Kubernetes cluster."""
