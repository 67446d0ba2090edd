"""Runs adapters as processes of this host."""
