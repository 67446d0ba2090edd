"""The Job of a benchmark: its pod, and how Kubernetes treats it."""

from __future__ import annotations

from evalhub_runtime_k8s.containers import Pod, adapter, init, sidecar
from evalhub_runtime_k8s.hardware import Placement
from evalhub_runtime_k8s.names import service_account
from evalhub_runtime_k8s.volumes import merged
from evalhub_server.plugins import Json


def job_manifest(pod: Pod, place: Placement, metadata: Json) -> Json:
    """``metadata`` has name, namespace, labels and annotations; the pod gets the last two as well."""
    settings, hardening = pod.installation.settings, pod.hardening
    spec: Json = {
        "backoffLimit": 0,
        "ttlSecondsAfterFinished": round(settings.ttl),
        "template": {
            "metadata": {"labels": metadata["labels"], "annotations": metadata["annotations"]},
            "spec": _pod_spec(pod, place),
        },
    }
    if hardening.deadline:
        spec["activeDeadlineSeconds"] = max(1, round(hardening.deadline))
    if _restarts(pod):
        spec["podFailurePolicy"] = {
            "rules": [
                {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
            ]
        }
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}


def _restarts(pod: Pod) -> bool:
    own = (pod.run.config or {}).get("restart_disrupted")
    return own if isinstance(own, bool) else pod.hardening.restart_disrupted


def _pod_spec(pod: Pod, place: Placement) -> Json:
    containers = [adapter(pod)]
    before = [container for container in (init(pod), sidecar(pod)) if container is not None]
    # The order in which containers name their volumes; of the sidecar's, most are the adapter's, too.
    naming = [*containers, *before]
    spec: Json = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "initContainers": [container.plain() for container in before],
        "containers": [container.plain() for container in containers],
        "volumes": merged(mount for container in naming for mount in container.mounts),
    }
    installation, hardening = pod.installation, pod.hardening
    account = installation.settings.service_account
    if not account and installation.instance:
        account = service_account(installation.instance, installation.own_namespace(pod.run.tenant))
    if account:
        spec["serviceAccountName"] = account
    if place.node_selector:
        spec["nodeSelector"] = place.node_selector
    if place.tolerations:
        spec["tolerations"] = list(place.tolerations)
    if hardening.termination_grace:
        spec["terminationGracePeriodSeconds"] = round(hardening.termination_grace)
    if hardening.pod_security_context:
        spec["securityContext"] = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    if not hardening.service_links:
        spec["enableServiceLinks"] = False
    return spec
