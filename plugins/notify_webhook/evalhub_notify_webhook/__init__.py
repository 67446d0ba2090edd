"""The exporter ``webhook``: posts signed messages about jobs to an HTTP endpoint."""
