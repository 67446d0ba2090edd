"""Labels and annotations of a benchmark's objects."""

from __future__ import annotations

from evalhub_runtime_k8s.settings import Installation
from evalhub_server.plugins import JobSpec, label_value

APP = "evalhub"
COMPONENT = "evaluation-job"
PHASE = "trustyai.opendatahub.io/evaluation-phase"
STATUS = "trustyai.opendatahub.io/evaluation-status"
"""Annotation of the Job: the state of the benchmark as JSON."""
PENDING = "Pending"
QUEUE_NAME = "kueue.x-k8s.io/queue-name"
QUEUE_PRIORITY = "kueue.x-k8s.io/priority-class"

JOB_ID = "job_id"
BENCHMARK_INDEX = "benchmark_index"
INSTANCE_NAME = "evalhub_instance_name"
INSTANCE_NAMESPACE = "evalhub_instance_namespace"


def labels_for(
    spec: JobSpec, tenant: str, installation: Installation, queue: str = "", priority: str = ""
) -> dict[str, str]:
    """Return the labels of Job, pod, ConfigMap and Secret. ``queue`` and ``priority`` are Kueue's, or empty."""
    labels = {
        **selector(installation, tenant),
        **benchmark_selector(spec.id, spec.benchmark_index),
        "provider_id": label_value(spec.provider_id),
        "benchmark_id": label_value(spec.benchmark_id),
        PHASE: PENDING,
    }
    if queue:
        labels[QUEUE_NAME] = queue  # an object name: Kueue compares it unchanged
        if priority:
            labels[QUEUE_PRIORITY] = label_value(priority)
    return labels


def selector(installation: Installation, tenant: str) -> dict[str, str]:
    """Return the labels of all objects of this server in the tenant's namespace."""
    labels = {"app": APP, "component": COMPONENT}
    if installation.instance:
        labels[INSTANCE_NAME] = installation.instance
        labels[INSTANCE_NAMESPACE] = installation.own_namespace(tenant)
    return labels


def benchmark_selector(job_id: str, benchmark_index: int) -> dict[str, str]:
    """Return the labels of all objects of one benchmark, whatever the attempt."""
    return {**job_selector(job_id), BENCHMARK_INDEX: str(benchmark_index)}


def job_selector(job_id: str) -> dict[str, str]:
    """Return the labels of all objects of a job."""
    return {JOB_ID: label_value(job_id)}


def selector_text(labels: dict[str, str]) -> str:
    """Format labels as a ``labelSelector``."""
    return ",".join(f"{key}={value}" for key, value in labels.items())


def annotations_for(spec: JobSpec) -> dict[str, str]:
    """Return the unchanged ids, which labels cannot always hold."""
    return {
        "eval-hub.github.io/job_id": spec.id,
        "eval-hub.github.io/provider_id": spec.provider_id,
        "eval-hub.github.io/benchmark_id": spec.benchmark_id,
    }
