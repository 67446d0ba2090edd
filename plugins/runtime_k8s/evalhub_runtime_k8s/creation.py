"""Making the objects of one attempt, in an order and with names that make every step repeatable."""

from __future__ import annotations

import structlog

from evalhub_runtime_k8s.api_errors import Refused
from evalhub_runtime_k8s.api_resources import CONFIG_MAPS, JOBS, NETWORK_POLICIES, SECRETS, Resource
from evalhub_runtime_k8s.client import KubernetesApi
from evalhub_runtime_k8s.deletion import POLICIES
from evalhub_runtime_k8s.labels import BENCHMARK_INDEX, JOB_ID
from evalhub_runtime_k8s.manifest import Manifests, owner_reference
from evalhub_server.plugins import EvalHubError, Json, LaunchError, RuntimeUnavailable

log = structlog.get_logger()

OURS = ("app", JOB_ID, BENCHMARK_INDEX)
OWNER_TRIES = 5


class Cancelled(Exception):
    """Nobody wants the workload any more; what is there so far stays for who stops it."""


class Creation:
    """One launch. :meth:`cancel` ends it between two steps.

    Secret, ConfigMap, Job, then the Job as the owner of the other two: the order of the released server. An object that
    is there already and has our labels is adopted, so a launch that was interrupted anywhere goes on where it was.
    """

    def __init__(self, api: KubernetesApi, manifests: Manifests) -> None:
        self._api = api
        self._manifests = manifests
        self._cancelled = False
        self.warnings: tuple[str, ...] = ()
        """What the cluster said about the objects that it made."""

    def cancel(self) -> None:
        self._cancelled = True

    async def run(self) -> str:
        """Return the Job's uid.

        Raises :class:`LaunchError` with nothing left behind, :class:`RuntimeUnavailable` to be asked again, or
        :class:`Cancelled`.
        """
        manifests = self._manifests
        try:
            if manifests.secret is not None:
                await self._made(SECRETS, manifests.secret)
            await self._made(CONFIG_MAPS, manifests.config_map)
            job = await self._made(JOBS, manifests.job)
        except LaunchError:
            await self._undo()
            raise
        reference = owner_reference(job)
        if not await self._owned(CONFIG_MAPS, manifests.config_map, reference):
            # Somebody removed the evaluation meanwhile. The Job would wait for its ConfigMap for ever.
            await self._undo()
            raise LaunchError("The evaluation's objects were deleted while they were being made.")
        if manifests.secret is not None:
            await self._owned(SECRETS, manifests.secret, reference)
        if manifests.network_policy is not None:
            await self._isolated(manifests.network_policy, reference)
        return job["metadata"]["uid"]

    async def _made(self, resource: Resource, body: Json) -> Json:
        if self._cancelled:
            raise Cancelled
        namespace, name = self._manifests.namespace, body["metadata"]["name"]
        try:
            answer = await self._api.create(resource, namespace, body)
        except Refused as error:
            if error.exists:
                return await self._adopted(resource, body)
            if error.over_quota:
                raise RuntimeUnavailable(
                    f"The namespace '{namespace}' has no quota left: {error}", "quota_exceeded"
                ) from error
            if error.conflict:
                raise RuntimeUnavailable(str(error)) from error
            what = f"{resource.kind} '{name}' in namespace '{namespace}'"
            raise LaunchError(f"The cluster refused the {what}: {error}") from error
        for warning in answer.warnings:
            log.warning("the cluster warns", kind=resource.kind, name=name, warning=warning)
        self.warnings += answer.warnings
        return answer.body

    async def _isolated(self, policy: Json, reference: Json) -> None:
        """More than the server usually may do, so a refusal is none of the evaluation's."""
        body: Json = {**policy, "metadata": {**policy["metadata"], "ownerReferences": [reference]}}
        try:
            await self._api.create(NETWORK_POLICIES, self._manifests.namespace, body)
        except Refused as error:
            if not error.exists:
                log.debug("no network policy", name=body["metadata"]["name"], error=str(error))

    async def _adopted(self, resource: Resource, body: Json) -> Json:
        """The object of an earlier launch; names are of this server's making, so others' are a mistake of somebody."""
        namespace, name = self._manifests.namespace, body["metadata"]["name"]
        found = await self._api.find(resource, namespace, name)
        if found is None:
            raise RuntimeUnavailable(f"{resource.kind} '{name}' came and went while it was made")
        if not _is_ours(found, body):
            raise LaunchError(
                f"There is a {resource.kind} '{name}' in namespace '{namespace}' that is not of this evaluation "
                f"(its labels differ). Remove it, or submit the job again."
            )
        if found["metadata"].get("deletionTimestamp"):
            raise RuntimeUnavailable(
                f"an earlier {resource.kind} '{name}' is still being deleted", "terminating"
            )
        log.info("adopted", kind=resource.kind, name=name, namespace=namespace)
        return found

    async def _owned(self, resource: Resource, body: Json, reference: Json) -> bool:
        """Make the Job the owner; False if the object is gone.

        The API gives no right to patch these, and somebody may change them in between, hence reading and retrying.
        What cannot be owned is only not collected with the Job; it goes when the evaluation is deleted.
        """
        namespace, name = self._manifests.namespace, body["metadata"]["name"]
        for _ in range(OWNER_TRIES):
            try:
                found = await self._api.find(resource, namespace, name)
                if found is None:
                    return False
                owners: list[Json] = found["metadata"].get("ownerReferences") or []
                if any(owner.get("uid") == reference["uid"] for owner in owners):
                    return True
                found["metadata"]["ownerReferences"] = [*owners, reference]
                await self._api.replace(resource, namespace, found)
            except Refused as error:
                if error.missing:
                    return False
                if error.conflict:
                    continue
                log.warning("owner cannot be set", kind=resource.kind, name=name, error=str(error))
            return True
        log.warning("owner cannot be set", kind=resource.kind, name=name, error="it changes all the time")
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
                log.error("object left behind", kind=resource.kind, name=name, error=str(error))


def _is_ours(found: Json, body: Json) -> bool:
    labels: Json = found["metadata"].get("labels") or {}
    wanted: Json = body["metadata"]["labels"]
    return all(labels.get(key) == wanted[key] for key in OURS)
