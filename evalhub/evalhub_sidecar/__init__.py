"""The sidecar: a proxy between adapters and the EvalHub server, models, MLflow and registries.

It adds the credentials that an adapter must not have, and stores events while the server is unavailable. In a cluster it
runs beside the adapter in its pod; on a workstation ``evalhub server start`` runs one for all jobs. It imports aiohttp,
msgspec, :mod:`evalhub_common` and the standard library only, and so starts within two seconds on a fifth of a CPU.
"""
