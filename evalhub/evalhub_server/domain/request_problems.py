"""Error responses to requests that are refused before their operation: headers, access, start and stop; see :mod:`problems`."""

from __future__ import annotations

from evalhub_server.errors import ApiError, FieldError


def missing_header(code: str, header: str) -> ApiError:
    text = f"The request is missing a required header {header}."
    return ApiError(400, code, text, errors=[FieldError(header, "is required")])


def invalid_header(header: str, problem: str) -> ApiError:
    text = f"The header {header} {problem}. Send it once, with a plain value."
    return ApiError(400, "invalid_header", text, errors=[FieldError(header, problem)])


def host_not_allowed(host: str) -> ApiError:
    text = (
        f"The host '{_shortened(host)}' is not allowed (protection against DNS rebinding). Use localhost, or add the host "
        "to service.allowed_hosts in the server's config.yaml."
    )
    return ApiError(403, "host_not_allowed", text)


def origin_not_allowed(origin: str) -> ApiError:
    text = (
        f"Web pages of the origin '{_shortened(origin)}' may not send requests that change data. To allow them, add the "
        "origin to service.allowed_origins in the server's config.yaml."
    )
    return ApiError(403, "origin_not_allowed", text)


def server_starting() -> ApiError:
    text = "The server is starting and does not process requests yet. Retry in a second."
    return ApiError(503, "server_starting", text, {"Retry-After": "1"})


def server_stopping() -> ApiError:
    text = "The server is stopping, so the request may not have been completed. Repeat it when the server is available again."
    return ApiError(503, "server_stopping", text, {"Retry-After": "5"})


def server_ousted() -> ApiError:
    text = (
        "This server led and lost its lease, or its connection to the database, and has not found the new leader yet. Use "
        "another server, or retry in a second."
    )
    return ApiError(503, "server_ousted", text, {"Retry-After": "1"})


def data_directory_lost() -> ApiError:
    text = (
        "The data directory of the server was removed, replaced or moved while the server was running, so the server stores "
        "nothing any more. Restore the directory and restart the server."
    )
    return ApiError(503, "data_directory_lost", text, {"Retry-After": "5"})


def unauthorized() -> ApiError:
    text = "This server requires a bearer token: send the header 'Authorization: Bearer TOKEN' with a valid token."
    return ApiError(401, "unauthorized", text, {"WWW-Authenticate": 'Bearer realm="evalhub"'})


def uri_too_long(limit_bytes: int) -> ApiError:
    text = f"The path of the request is longer than {limit_bytes} bytes; no resource has such a path."
    return ApiError(414, "uri_too_long", text)


def _shortened(text: str) -> str:
    return text if len(text) <= 100 else text[:100] + "…"
