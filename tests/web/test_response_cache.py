"""The cache of encoded responses and its bounds."""

from __future__ import annotations

from evalhub_server.domain.entity_tags import body_tag
from evalhub_server.domain.job_view import job_resource
from evalhub_server.domain.record import JobRecord
from evalhub_server.models.job import JobResource
from evalhub_server.testing.builders import a_job
from evalhub_server.web.response_cache import RecordEncoder


class Counted:
    """A view that records its calls."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def __call__(self, job: JobRecord) -> JobResource:
        self.calls.append(job.id)
        return job_resource(job)


def test_the_same_record_is_encoded_once():
    view, job = Counted(), a_job()
    encoder = RecordEncoder(view)
    assert encoder(job) == encoder(job)
    assert view.calls == [job.id]


def test_the_tag_of_a_record_is_computed_once():
    job = a_job()
    encoder = RecordEncoder(job_resource)
    known = encoder.tagged(job)
    assert (known.body, known.tag) == (encoder(job), body_tag(encoder(job)))
    assert encoder.tagged(job) is known


def test_the_cache_has_a_limit_in_bytes():
    view, jobs = Counted(), [a_job() for _ in range(3)]
    length = max(len(RecordEncoder(job_resource)(job)) for job in jobs)
    encoder = RecordEncoder(view, limit_bytes=2 * length)
    for job in (*jobs, jobs[1], jobs[2], jobs[0]):
        encoder(job)
    first, second, third = (job.id for job in jobs)
    assert view.calls == [first, second, third, first]


def test_a_response_above_the_limit_is_not_cached():
    view, job = Counted(), a_job()
    encoder = RecordEncoder(view, limit_bytes=10)
    assert encoder(job) == encoder(job)
    assert view.calls == [job.id, job.id]
