"""From a record to what a runtime is asked to run."""

from __future__ import annotations

from msgspec.structs import replace

from evalhub_server.domain.record import JobRecord, with_changes
from evalhub_server.engine.run_builder import RunBuilder
from evalhub_server.models.common import HardwareConfig, Queue, S3Ref, TestDataRef
from evalhub_server.models.job import Exports, OciConnection, OciCoordinates, OciExport
from evalhub_server.testing.builders import a_job

BUILD = RunBuilder("http://127.0.0.1:1", "k8s", [])


def test_a_run_has_the_providers_entry_for_the_runtime():
    job = a_job(tenant="team-a")
    job = with_changes(
        job, plan=replace(job.plan, runtimes={"provider-a": {"k8s": {"image": "i"}, "local": {}}})
    )
    run = BUILD(job, 0)
    assert (run.config, run.tenant, run.key) == ({"image": "i"}, "team-a", (job.id, 0, 1))


def test_a_benchmarks_own_environment_goes_before_that_of_all():
    own = {"TRACEPARENT": "00-1-2-01", "A": "own"}
    build = RunBuilder(
        "http://127.0.0.1:1", "k8s", [], environment={"A": "all", "B": "all"}, environment_of=lambda *_: own
    )
    assert build(a_job(), 0).environment == {"TRACEPARENT": "00-1-2-01", "A": "own", "B": "all"}


def test_hardware_queue_data_and_the_registrys_secret_reach_the_runtime():
    hardware = HardwareConfig(hardware_profile_name="gpu")
    data = TestDataRef(s3=S3Ref(bucket="b", key="k", secret_ref="s"))
    coordinates = OciCoordinates(oci_host="registry.example", oci_repository="o/r")
    oci = OciExport(coordinates=coordinates, k8s=OciConnection(connection="push"))
    job = a_job(size=2)
    plain, wanting = job.plan.benchmarks
    wanting = replace(wanting, hardware_config=hardware, test_data_ref=data)
    job = with_changes(
        job,
        request=replace(job.request, queue=Queue(kind="kueue", name="q"), exports=Exports(oci=oci)),
        plan=replace(job.plan, benchmarks=(plain, wanting)),
    )
    run = BUILD(job, 1)
    assert (run.hardware, run.test_data, run.oci_connection) == (hardware, data, "push")
    assert run.queue == Queue(kind="kueue", name="q")
    assert extras_of(job, 0) == (None, None)


def extras_of(job: JobRecord, index: int) -> tuple[HardwareConfig | None, TestDataRef | None]:
    run = BUILD(job, index)
    return run.hardware, run.test_data
