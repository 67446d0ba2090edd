"""What the server tells an OpenTelemetry collector about itself: nothing here is imported unless ``otel.enabled``.

Only this package imports ``opentelemetry``, which the extra ``otel`` installs. It sets no global provider and patches
nothing: ``cli`` puts it around the application and lets it listen.
"""
