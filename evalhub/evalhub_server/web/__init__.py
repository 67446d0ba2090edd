"""The REST API on Litestar: routes, middleware, error bodies, OpenAPI. No business rules."""
