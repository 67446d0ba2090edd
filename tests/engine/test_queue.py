"""Tenants take turns; for each, first come, first served, within limits."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from evalhub_server.engine.queue import LaunchQueue, Slot
from evalhub_server.plugins.runtime import Limits


def slot(index: int, provider: str = "p", model: str = "m", tenant: str = "") -> Slot:
    return Slot("job", index, provider, model, tenant)


def taken(queue: LaunchQueue) -> list[int]:
    indices: list[int] = []
    while (next_slot := queue.take()) is not None:
        indices.append(next_slot.index)
    return indices


def test_slots_run_in_the_order_of_their_arrival():
    queue = LaunchQueue(Limits())
    for index in (2, 0, 1):
        queue.put(slot(index))
    assert taken(queue) == [2, 0, 1]


def test_the_total_limit_holds_until_one_is_released():
    queue = LaunchQueue(Limits(total=2))
    for index in range(4):
        queue.put(slot(index))
    assert taken(queue) == [0, 1]
    queue.release(slot(0))
    assert taken(queue) == [2]
    assert len(queue) == 1


def test_a_slot_over_its_providers_or_models_limit_lets_others_pass():
    queue = LaunchQueue(Limits(per_provider=1, per_model=2))
    queue.put(slot(0, "a", "x"))
    queue.put(slot(1, "a", "y"))
    queue.put(slot(2, "b", "x"))
    queue.put(slot(3, "c", "x"))
    assert taken(queue) == [0, 2]
    queue.release(slot(0, "a", "x"))
    assert taken(queue) == [1, 3]


def test_what_runs_already_counts_though_it_exceeds_the_limit():
    queue = LaunchQueue(Limits(total=1))
    queue.occupy(slot(0))
    queue.occupy(slot(1))
    queue.put(slot(2))
    assert taken(queue) == []
    queue.release(slot(0))
    assert taken(queue) == []
    queue.release(slot(1))
    assert taken(queue) == [2]


def test_a_discarded_slot_never_runs():
    queue = LaunchQueue(Limits())
    queue.put(slot(0))
    assert queue.discard(slot(0)) is True
    assert queue.discard(slot(0)) is False
    assert taken(queue) == []


def test_a_tenant_with_many_slots_does_not_hold_up_another():
    queue = LaunchQueue(Limits(total=1))
    for index in range(100):
        queue.put(slot(index, tenant="many"))
    assert taken(queue) == [0]
    queue.put(slot(200, tenant="few"))
    queue.put(slot(201, tenant="few"))
    order: list[int] = []
    running = slot(0, tenant="many")
    for _ in range(5):
        queue.release(running)
        next_slot = queue.take()
        assert next_slot is not None
        running = next_slot
        order.append(running.index)
    assert order == [1, 200, 2, 201, 3]
    assert len(queue) == 96


def test_a_tenant_whose_slots_wait_for_a_limit_keeps_its_turn():
    queue = LaunchQueue(Limits(per_model=1))
    for index, tenant in enumerate("abab"):
        queue.put(slot(index, model="x", tenant=tenant))
    queue.put(slot(4, model="y", tenant="b"))
    assert taken(queue) == [0, 4]
    queue.release(slot(0, model="x", tenant="a"))
    assert taken(queue) == [2]
    queue.release(slot(2, model="x", tenant="a"))
    assert taken(queue) == [1]


def test_within_a_tenant_the_oldest_slot_of_all_lanes_is_next():
    queue = LaunchQueue(Limits())
    for index, model in enumerate("xyxzy"):
        queue.put(slot(index, model=model))
    assert taken(queue) == [0, 1, 2, 3, 4]


@given(
    st.integers(1, 4),
    st.integers(1, 3),
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xy"), st.sampled_from("tu")), max_size=30),
)
def test_every_benchmark_runs_once_and_no_limit_is_exceeded(
    total: int, per_provider: int, wanted: list[tuple[str, str, str]]
):
    queue = LaunchQueue(Limits(total=total, per_provider=per_provider))
    slots = [slot(index, *each) for index, each in enumerate(wanted)]
    for item in slots:
        queue.put(item)
    running: list[Slot] = []
    done: list[Slot] = []
    while len(done) < len(slots):
        while (item := queue.take()) is not None:
            running.append(item)
        assert len(running) <= total
        assert all(sum(r.provider_id == p for r in running) <= per_provider for p in "abc")
        assert running
        queue.release(running[0])
        done.append(running.pop(0))
    assert sorted(item.index for item in done) == list(range(len(slots)))


def test_the_oldest_wait_is_that_of_the_first_slot():
    queue = LaunchQueue(Limits())
    assert queue.oldest_wait_s is None
    for index in range(2):
        queue.put(slot(index))
    before = queue.oldest_wait_s
    queue.put(slot(0))  # which waits already
    assert before is not None
    assert (queue.oldest_wait_s or 0) >= before
    assert taken(queue) == [0, 1]
    assert queue.oldest_wait_s is None


def test_a_new_slot_is_taken_at_once_only_within_all_limits():
    queue = LaunchQueue(Limits(total=3, per_provider=1, per_model=2))
    assert queue.take_new(slot(0, "a", "x"))
    assert not queue.take_new(slot(1, "a", "y")), "the provider's limit"
    assert queue.take_new(slot(2, "b", "x"))
    assert not queue.take_new(slot(3, "c", "x")), "the model's limit"
    assert queue.take_new(slot(4, "d", "y"))
    assert not queue.take_new(slot(5, "e", "z")), "the limit of all"
    queue.release(slot(0, "a", "x"))
    assert queue.take_new(slot(5, "e", "z"))
