"""Tells an HTTP endpoint what becomes of jobs, with signed messages (webhooks)."""
