"""The OpenAPI document, generated from the routes, the models and their rules on the first request for it.

A route is described by its docstring and by an :class:`~evalhub_server.web.openapi.operation.Operation`: handlers read raw
requests and return bytes, so their signatures carry no types for Litestar's own generator.
"""
