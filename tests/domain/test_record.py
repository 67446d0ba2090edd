"""The parts of a job record, and replacing them."""

from __future__ import annotations

import pytest

from evalhub_server.domain.record import JobDefinition, JobProgress, JobRecord, with_changes
from evalhub_server.models.common import State
from evalhub_server.testing.builders import a_job


def test_no_two_parts_have_a_field_of_the_same_name() -> None:
    fields = [*JobDefinition.__struct_fields__, *JobProgress.__struct_fields__, *JobRecord.__struct_fields__]
    assert len(fields) == len(set(fields))


def test_a_change_replaces_the_parts_that_have_the_fields_and_keeps_the_others() -> None:
    job = a_job()
    running = with_changes(job, state=State.RUNNING)
    assert running.state is State.RUNNING
    assert running.definition is job.definition
    assert running.benchmarks is job.benchmarks
    renamed = with_changes(job, owner="ada", benchmarks=())
    assert (renamed.owner, renamed.benchmarks) == ("ada", ())
    assert renamed.progress is job.progress
    assert with_changes(job) == job


def test_a_change_of_a_field_that_there_is_not_is_an_error() -> None:
    with pytest.raises(TypeError, match="no field 'experiment'"):
        with_changes(a_job(), experiment=None)
