"""For plugin authors: contract suites that every runtime and storage passes, and small ones to test against."""
