"""The OpenAPI document, made from the routes, the models and their rules when somebody first asks for it.

A route says what it does in its docstring, and the rest in an :class:`~evalhub_server.web.openapi.operation.Operation`
that it is decorated with: handlers take raw requests and give bytes, so their signatures say nothing.
"""
