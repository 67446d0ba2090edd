"""The init program of a pod: fetches the test data of a benchmark before its adapter starts.

From an S3 bucket, a git repository or a dataset of Hugging Face, as the environment says. Data of a volume claim need
no program. It uses aiohttp, the standard library and the program ``git``, and nothing of the server.
"""
