"""The viewer: server-rendered pages below ``/ui`` over the services of the API.

A page is a module and a template. Its handler reads what it shows from :class:`~evalhub_server.web.services.Services` and returns
:func:`~evalhub_server.viewer.page.page_response`, which renders it as HTML, or returns its data for ``.json``, ``.csv`` and ``.md``.
"""
