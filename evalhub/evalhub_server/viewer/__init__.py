"""The viewer: server-rendered pages below ``/ui`` over the services of the API."""
