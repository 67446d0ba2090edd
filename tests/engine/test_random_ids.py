"""Ids of jobs and resources."""

from __future__ import annotations

from itertools import islice
from uuid import UUID

from evalhub_server.engine.random_ids import random_ids


def test_ids_are_different_random_uuids():
    ids = [*islice(random_ids(), 100), *islice(random_ids(), 100)]
    assert len(set(ids)) == 200
    assert {UUID(each).version for each in ids} == {4}
    assert all(str(UUID(each)) == each for each in ids)
