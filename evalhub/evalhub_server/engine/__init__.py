"""Services and background tasks for jobs, providers and collections. The only package that awaits plugins."""
