"""What happens: jobs are created, supervised, changed and announced. The only code that awaits plugins."""
