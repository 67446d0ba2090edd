"""Export of traces, metrics and logs with OpenTelemetry; imported only if ``otel.enabled``.

Only this package imports ``opentelemetry``, which the extra ``otel`` installs. It sets no global provider and patches
nothing: ``cli`` wraps the application and registers listeners.
"""
