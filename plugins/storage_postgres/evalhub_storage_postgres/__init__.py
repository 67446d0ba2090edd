"""Jobs, providers and collections in a PostgreSQL database."""
