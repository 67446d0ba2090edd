"""Uses a client that openapi-python-client generated; run in an environment of its own."""

from __future__ import annotations

import os

from eval_hub_server_client import Client
from eval_hub_server_client.api.collections import create_collection, patch_collection
from eval_hub_server_client.api.jobs import create_job, delete_job, get_job, list_jobs
from eval_hub_server_client.models import (
    BenchmarkRefInput,
    BenchmarkRefInputParametersType0,
    CollectionConfig,
    ErrorBody,
    JobRequest,
    JobResource,
    ModelInput,
)
from eval_hub_server_client.models.patch_collection_body_json_patch_item import (
    PatchCollectionBodyJSONPatchItem,
)

client = Client(base_url=os.environ["EVALHUB"])
parameters = BenchmarkRefInputParametersType0()
parameters["num_examples"] = 3
benchmark = BenchmarkRefInput(id="b", provider_id="scripted", parameters=parameters)
request = JobRequest(name="j", model=ModelInput(url="http://model.test/v1", name="m"), benchmarks=[benchmark])

job = create_job.sync(client=client, body=request)
assert isinstance(job, JobResource), job
assert job.benchmarks[0].parameters["num_examples"] == 3
same = get_job.sync(job.resource.id, client=client)
assert same.resource.id == job.resource.id
assert [item.resource.id for item in list_jobs.sync(client=client, limit=10).items] == [job.resource.id]

refused = create_job.sync(
    client=client, body=JobRequest(name="", model=request.model, benchmarks=[benchmark])
)
assert isinstance(refused, ErrorBody), refused
assert refused.message_code == "request_validation_failed"
assert refused.errors[0].path == "name"

collection = create_collection.sync(
    client=client, body=CollectionConfig(name="c", category="x", benchmarks=[benchmark])
)
patch = [PatchCollectionBodyJSONPatchItem.from_dict({"op": "replace", "path": "/name", "value": "d"})]
patched = patch_collection.sync(collection.resource.id, client=client, body=patch)
assert patched.name == "d", patched

assert delete_job.sync_detailed(job.resource.id, client=client, hard_delete=True).status_code == 204
print("done")
