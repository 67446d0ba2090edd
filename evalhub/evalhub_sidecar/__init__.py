"""The sidecar: the only program that an adapter has to reach.

It passes events to the server and model calls to the model, adds the credentials that an adapter must not see, and
keeps events that the server cannot take yet. In a cluster it runs beside the adapter in its pod; on a workstation
``evalhub server start`` runs one for all jobs. It stands alone: aiohttp, msgspec and the standard library, so that it
is up within two seconds on a fifth of a CPU.
"""
