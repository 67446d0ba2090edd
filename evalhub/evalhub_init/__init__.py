"""The init program: fetches the test data of a benchmark before its adapter starts, in pods and in local mode.

Sources are an S3 bucket, a git repository or a dataset of Hugging Face, selected by environment variables. It imports
aiohttp, msgspec, :mod:`evalhub_common` and the standard library only, and runs the program ``git``.
"""
