"""Building blocks shared by the server, the sidecar, the init program, adapters and plugins.

Internal: plugin authors import :mod:`evalhub_server.plugins`, which re-exports what they need. Importing a module of
this package imports the standard library only.
"""
