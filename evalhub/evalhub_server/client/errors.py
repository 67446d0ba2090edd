"""Exceptions of the client.

::

    ClientError
    ├── InvalidServerUrl     the address of the server is not an http or https URL
    ├── Unreachable          no answer: refused, timed out, lost, or not HTTP
    ├── Unsupported          the server does not have the route or the query parameter
    └── ResponseError        an error response: status, message_code, errors
        ├── NotAuthorized    401 or 403
        └── ResourceNotFound 404 with a JSON body: no such job, provider, collection, …
"""

from __future__ import annotations

from collections.abc import Sequence

from evalhub_server.errors import EvalHubError, FieldError


class ClientError(EvalHubError):
    """Base class of the client's exceptions."""


class InvalidServerUrl(ClientError):
    """The address of the server is not an http or https URL, or a header value cannot be sent."""


class Unreachable(ClientError):
    """The server did not answer, or its answer broke off. Whether the request had an effect is unknown."""


class Unsupported(ClientError):
    """The server does not have this route or query parameter; an older release may not."""


class ResponseError(ClientError):
    """The server answered with an error.

    ``status`` is the HTTP status, ``message_code`` the stable code of the contract (empty if the body has none), ``errors``
    the faults of single fields. The text is the ``message`` of the body.
    """

    def __init__(
        self, message: str, status: int, message_code: str = "", errors: Sequence[FieldError] = ()
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message_code = message_code
        self.errors = tuple(errors)


class NotAuthorized(ResponseError):
    """The token is missing, wrong or not sufficient, or the server does not permit the request."""


class ResourceNotFound(ResponseError):
    """There is no such resource, or it belongs to another tenant."""
