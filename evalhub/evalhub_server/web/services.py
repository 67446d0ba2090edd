"""The services that handlers use."""

from __future__ import annotations

import msgspec

from evalhub_server.domain.entity_tags import Tagged, tagged
from evalhub_server.domain.job_view import job_in_lineage, job_summary
from evalhub_server.domain.lineage import in_lineage
from evalhub_server.domain.record import JobRecord
from evalhub_server.domain.resource import CollectionRecord, ProviderRecord
from evalhub_server.domain.resource_view import collection_resource, provider_resource
from evalhub_server.engine.baselines import BaselineService
from evalhub_server.engine.comparisons import ComparisonService
from evalhub_server.engine.identity import Identity
from evalhub_server.engine.jobs import JobService
from evalhub_server.engine.readiness import ComponentChecks
from evalhub_server.engine.resource_store import benchmarks_of
from evalhub_server.engine.resources import ResourceService
from evalhub_server.engine.sample_store import SampleStore
from evalhub_server.engine.sample_uploads import SampleUploads
from evalhub_server.engine.server_state import ServerState
from evalhub_server.models.collection import CollectionResource
from evalhub_server.models.provider import Provider, Runnable
from evalhub_server.settings import ServiceSettings
from evalhub_server.web.job_encoding import EncodedJobs
from evalhub_server.web.list_cache import ListCache
from evalhub_server.web.metrics import Metrics
from evalhub_server.web.response_cache import RecordEncoder


class Services:
    """The services of one application, and the encoders of its resources: the Litestar dependency ``services``.

    It is the only dependency of a handler: Litestar resolves several in a task group, about 50 µs for each request. Handlers that
    are called often take it from :attr:`ApiRequest.services`, which saves 8 µs.
    """

    def __init__(
        self,
        settings: ServiceSettings,
        jobs: JobService,
        resources: ResourceService,
        files: SampleStore,
        uploads: SampleUploads,
        comparisons: ComparisonService,
        baselines: BaselineService,
        metrics: Metrics,
        state: ServerState,
        components: ComponentChecks,
    ) -> None:
        self.settings = settings
        self.jobs = jobs
        self.resources = resources
        self.files = files
        self.uploads = uploads
        self.comparisons = comparisons
        self.baselines = baselines
        self.metrics = metrics
        self.state = state
        self.components = components
        self.feed = jobs.feed
        self.lists = ListCache()
        self.encode_job = RecordEncoder(EncodedJobs())
        self.encode_job_summary = RecordEncoder(job_summary)
        self._encode_provider = RecordEncoder(provider_resource)
        self._encode_provider_without_benchmarks = RecordEncoder(_provider_without_benchmarks)
        self._encode_collection = RecordEncoder(_collection)

    async def job_with_lineage(self, job: JobRecord, identity: Identity) -> Tagged:
        """The JSON of a job, with the chain of reruns that it belongs to."""
        if not in_lineage(job):
            return self.encode_job.tagged(job)
        return tagged(msgspec.json.encode(job_in_lineage(job, await self.jobs.lineage(job, identity))))

    def encode_provider(self, record: ProviderRecord) -> bytes:
        """The JSON of a provider, with what the runtime reports about it."""
        return self._encode_provider(record, self.resources.runnable(record))

    def tagged_provider(self, record: ProviderRecord) -> Tagged:
        """The JSON of :meth:`encode_provider` with its tag. The digest is computed once: a provider can have hundreds of kB."""
        known = self._encode_provider.tagged(record, self.resources.runnable(record))
        return known.edited(record.updated_at)

    def encode_provider_without_benchmarks(self, record: ProviderRecord) -> bytes:
        return self._encode_provider_without_benchmarks(record, self.resources.runnable(record))

    async def encode_collection(self, record: CollectionRecord, identity: Identity) -> bytes:
        """The JSON of a collection, with the taxonomy of its benchmarks' providers."""
        return self._encode_collection(record, *await self.resources.member_providers(record, identity))

    async def tagged_collection(self, record: CollectionRecord, identity: Identity) -> Tagged:
        """The JSON of :meth:`encode_collection` with its tag."""
        providers = await self.resources.member_providers(record, identity)
        return self._encode_collection.tagged(record, *providers).edited(record.updated_at)


def _provider_without_benchmarks(record: ProviderRecord, runnable: Runnable | None) -> Provider:
    return msgspec.structs.replace(provider_resource(record, runnable), benchmarks=())


def _collection(record: CollectionRecord, *providers: ProviderRecord) -> CollectionResource:
    return collection_resource(record, benchmarks_of(providers))
