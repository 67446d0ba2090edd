"""The exporter ``oci``: pushes the evaluation card of a finished job to an OCI registry."""
