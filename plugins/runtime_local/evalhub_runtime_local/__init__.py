"""Runtime plugin ``local``: runs adapters as processes of this host."""
