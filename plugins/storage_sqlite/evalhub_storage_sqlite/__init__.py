"""Jobs, providers and collections in an SQLite database: a file that survives the server, or memory."""
