"""The REST API: routes, identity, error bodies. No rules of its own."""
