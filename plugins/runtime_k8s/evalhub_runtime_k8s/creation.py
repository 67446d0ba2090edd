"""Creation of the objects of one attempt; order and names make every step repeatable."""

from __future__ import annotations

import structlog

from evalhub_runtime_k8s.api_errors import ApiRefusal
from evalhub_runtime_k8s.api_resources import CONFIG_MAPS, JOBS, NETWORK_POLICIES, SECRETS, Resource
from evalhub_runtime_k8s.client import KubernetesApi
from evalhub_runtime_k8s.cluster_state import refusal_in_namespace
from evalhub_runtime_k8s.deletion import POLICIES
from evalhub_runtime_k8s.labels import BENCHMARK_INDEX, JOB_ID
from evalhub_runtime_k8s.manifest import Manifests, owner_reference
from evalhub_server.plugins import EvalHubError, Json, LaunchError, RuntimeUnavailable

log = structlog.get_logger()

IDENTITY_LABELS = ("app", JOB_ID, BENCHMARK_INDEX)
OWNER_TRIES = 5


class Cancelled(Exception):
    """The launch was cancelled; the objects created so far remain until the workload is stopped."""


class Creation:
    """Creates the objects of one launch. :meth:`cancel` ends it between two steps.

    Secret, ConfigMap, Job, then the Job as the owner of the other two: the order of the released server. An existing
    object with our labels is adopted, so an interrupted launch continues where it stopped.
    """

    def __init__(self, api: KubernetesApi, manifests: Manifests) -> None:
        self._api = api
        self._manifests = manifests
        self._cancelled = False
        self.warnings: tuple[str, ...] = ()
        """Warnings of the API about the created objects."""

    def cancel(self) -> None:
        self._cancelled = True

    async def run(self) -> str:
        """Return the Job's uid.

        Raises :class:`LaunchError` with no object left, :class:`RuntimeUnavailable` if a retry can succeed, or
        :class:`Cancelled`.
        """
        manifests = self._manifests
        try:
            secret = None if manifests.secret is None else await self._create(SECRETS, manifests.secret)
            config_map = await self._create(CONFIG_MAPS, manifests.config_map)
            job = await self._create(JOBS, manifests.job)
        except LaunchError:
            await self._undo()
            raise
        reference = owner_reference(job)
        if not await self._set_owner(CONFIG_MAPS, config_map, reference):
            # The evaluation was deleted meanwhile; the Job would wait for its ConfigMap forever.
            await self._undo()
            raise LaunchError("The evaluation's objects were deleted while they were being created.")
        if secret is not None:
            await self._set_owner(SECRETS, secret, reference)
        if manifests.network_policy is not None:
            await self._create_network_policy(manifests.network_policy, reference)
        return job["metadata"]["uid"]

    async def _create(self, resource: Resource, body: Json) -> Json:
        if self._cancelled:
            raise Cancelled
        namespace, name = self._manifests.namespace, body["metadata"]["name"]
        try:
            answer = await self._api.create(resource, namespace, body)
        except ApiRefusal as error:
            if error.exists:
                return await self._adopt(resource, body)
            if error.over_quota:
                raise RuntimeUnavailable(
                    f"The namespace '{namespace}' has no quota left: {error}", "quota_exceeded"
                ) from error
            if error.conflict:
                raise RuntimeUnavailable(str(error)) from error
            label = f"{resource.kind} '{name}' in namespace '{namespace}'"
            cause = refusal_in_namespace(error, namespace)
            raise LaunchError(f"The cluster refused the {label}: {cause}") from error
        for warning in answer.warnings:
            log.warning("Kubernetes API warning", kind=resource.kind, name=name, warning=warning)
        self.warnings += answer.warnings
        return answer.body

    async def _create_network_policy(self, policy: Json, reference: Json) -> None:
        """Create the network policy. The server often lacks the right to; that does not fail the benchmark."""
        body: Json = {**policy, "metadata": {**policy["metadata"], "ownerReferences": [reference]}}
        try:
            await self._api.create(NETWORK_POLICIES, self._manifests.namespace, body)
        except ApiRefusal as error:
            if not error.exists:
                log.debug("Network policy not created", name=body["metadata"]["name"], error=str(error))

    async def _adopt(self, resource: Resource, body: Json) -> Json:
        """Return the object of an earlier launch. Raises :class:`LaunchError` if it is not ours."""
        namespace, name = self._manifests.namespace, body["metadata"]["name"]
        found = await self._api.find(resource, namespace, name)
        if found is None:
            raise RuntimeUnavailable(f"{resource.kind} '{name}' was deleted while it was being created")
        if not _is_ours(found, body):
            raise LaunchError(
                f"There is a {resource.kind} '{name}' in namespace '{namespace}' that does not belong to this evaluation "
                f"(its labels differ). Remove it, or submit the job again."
            )
        if found["metadata"].get("deletionTimestamp"):
            raise RuntimeUnavailable(
                f"an earlier {resource.kind} '{name}' is still being deleted", "terminating"
            )
        log.info("Adopted existing object", kind=resource.kind, name=name, namespace=namespace)
        return found

    async def _set_owner(self, resource: Resource, found: Json, reference: Json) -> bool:
        """Set the Job as owner of an object, as it was created or found; return False if the object is gone.

        The server has no right to patch these objects and others may change them, hence replace, and after a conflict
        read and retry. An object without owner is not garbage-collected with the Job; it is deleted with the evaluation.
        """
        namespace, name = self._manifests.namespace, found["metadata"]["name"]
        current: Json | None = found
        for _ in range(OWNER_TRIES):
            try:
                if current is None and (current := await self._api.find(resource, namespace, name)) is None:
                    return False
                owners: list[Json] = current["metadata"].get("ownerReferences") or []
                if any(owner.get("uid") == reference["uid"] for owner in owners):
                    return True
                metadata = {**current["metadata"], "ownerReferences": [*owners, reference]}
                await self._api.replace(resource, namespace, {**current, "metadata": metadata})
            except ApiRefusal as error:
                if error.missing:
                    return False
                if error.conflict:
                    current = None
                    continue
                log.warning("Owner not set", kind=resource.kind, name=name, error=str(error))
            return True
        log.warning("Owner not set", kind=resource.kind, name=name, error="the object keeps changing")
        return True

    async def _undo(self) -> None:
        manifests = self._manifests
        for resource, body in (
            (JOBS, manifests.job),
            (CONFIG_MAPS, manifests.config_map),
            (SECRETS, manifests.secret),
        ):
            if body is None:
                continue
            name = body["metadata"]["name"]
            try:
                found = await self._api.find(resource, manifests.namespace, name)
                if found is not None and _is_ours(found, body):
                    await self._api.delete(resource, manifests.namespace, name, POLICIES[resource])
            except EvalHubError as error:
                log.error("Object left behind", kind=resource.kind, name=name, error=str(error))


def _is_ours(found: Json, body: Json) -> bool:
    labels: Json = found["metadata"].get("labels") or {}
    expected: Json = body["metadata"]["labels"]
    return all(labels.get(key) == expected[key] for key in IDENTITY_LABELS)
