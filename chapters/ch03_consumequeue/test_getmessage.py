"""What a pull gets, and where it goes on."""

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chapters.ch03_consumequeue.logs import PaperLog, bodies
from mq.clients.subscription import build_subscription
from mq.consumequeue.filter import TagFilter, int32
from mq.consumequeue.getmessage import (
    GetMessageResult,
    GetMessageStatus,
    Limits,
    get_message,
    response_code,
)
from mq.consumequeue.queue import ENTRY_BYTES, ConsumeQueue
from mq.sim.simulation import Simulation
from mq.wire.codes import ResponseCode

LIMITS = Limits(memory_bytes=1 << 30)
Status = GetMessageStatus


def queue_of(sim: Simulation, log: PaperLog, per_file: int = 300_000) -> ConsumeQueue:
    queue = ConsumeQueue(sim.node("a").disk, "flights", 0, per_file * ENTRY_BYTES)
    for each in log.requests:
        if each.queue_id == 0:
            queue.append(each.queue_offset, each.physical_offset, each.size, each.queue_entry_code)
    return queue


def pull(
    queue: ConsumeQueue | None,
    log: PaperLog,
    queue_offset: int,
    expression: str = "*",
    max_messages: int = 32,
    limits: Limits = LIMITS,
) -> GetMessageResult:
    wanted = TagFilter(build_subscription("flights", expression))
    return get_message(queue, log, queue_offset, max_messages, wanted, limits)


# The queue has the entries `low` to `high - 1`. RocketMQ 4.9.8, DefaultMessageStore.getMessage.
PLACES = [
    # low, high, asked -> status, next, code
    (0, 0, 0, Status.NO_MESSAGE_IN_QUEUE, 0, ResponseCode.PULL_NOT_FOUND),
    (0, 0, 7, Status.NO_MESSAGE_IN_QUEUE, 0, ResponseCode.PULL_OFFSET_MOVED),
    (0, 5, 0, Status.FOUND, 5, ResponseCode.SUCCESS),
    (0, 5, 3, Status.FOUND, 5, ResponseCode.SUCCESS),
    (0, 5, 5, Status.OFFSET_OVERFLOW_ONE, 5, ResponseCode.PULL_NOT_FOUND),
    (0, 5, 6, Status.OFFSET_OVERFLOW_BADLY, 5, ResponseCode.PULL_OFFSET_MOVED),
    (2, 5, 9, Status.OFFSET_OVERFLOW_BADLY, 5, ResponseCode.PULL_OFFSET_MOVED),
    (2, 5, 1, Status.OFFSET_TOO_SMALL, 2, ResponseCode.PULL_OFFSET_MOVED),
    (2, 5, -1, Status.OFFSET_TOO_SMALL, 2, ResponseCode.PULL_OFFSET_MOVED),
    (0, 5, -1, Status.OFFSET_TOO_SMALL, 0, ResponseCode.PULL_OFFSET_MOVED),
    (2, 5, 2, Status.FOUND, 5, ResponseCode.SUCCESS),
    (5, 5, 5, Status.OFFSET_OVERFLOW_ONE, 5, ResponseCode.PULL_NOT_FOUND),
    (5, 5, 0, Status.OFFSET_TOO_SMALL, 5, ResponseCode.PULL_OFFSET_MOVED),
]


@pytest.mark.parametrize(("low", "high", "asked", "status", "goes_on", "code"), PLACES)
def test_where_an_offset_lies_decides_status_next_offset_and_code(
    low: int, high: int, asked: int, status: GetMessageStatus, goes_on: int, code: ResponseCode
) -> None:
    with Simulation(seed=1) as sim:
        log = PaperLog()
        for _ in range(high):
            log.put()
        queue = queue_of(sim, log)
        starts = [each.physical_offset for each in log.requests] + [len(log.data)]
        log.min_physical_offset = starts[low]
        queue.delete_before(starts[low])
        result = pull(queue, log, asked)
        assert (result.status, result.next_begin_offset) == (status, goes_on)
        assert (result.min_offset, result.max_offset) == (low, high)
        assert response_code(result.status, asked) is code


def test_a_queue_that_does_not_exist_has_a_status_of_its_own() -> None:
    for asked, code in ((0, ResponseCode.PULL_NOT_FOUND), (3, ResponseCode.PULL_OFFSET_MOVED)):
        result = pull(None, PaperLog(), asked)
        assert (result.status, result.next_begin_offset) == (Status.NO_MATCHED_LOGIC_QUEUE, 0)
        assert response_code(result.status, asked) is code


def test_a_file_that_is_not_there_is_stepped_over_as_a_whole() -> None:
    with Simulation(seed=1) as sim:
        log = PaperLog()
        for _ in range(10):
            log.put()
        queue = queue_of(sim, log, per_file=3)
        queue.write_tail()
        sim.node("a").disk.remove(queue.path(3 * ENTRY_BYTES))
        result = pull(queue, log, 4)
        assert (result.status, result.next_begin_offset) == (Status.OFFSET_FOUND_NULL, 6)
        assert response_code(result.status, 4) is ResponseCode.PULL_NOT_FOUND


def test_entries_that_no_filter_wants_count_as_read() -> None:
    """I3.4: a consumer never gets stuck in front of messages that are not for it."""
    with Simulation(seed=1) as sim:
        log = PaperLog()
        for number in range(2_000):
            log.put(tag="HA" if number == 1_900 else "UA")
        queue = queue_of(sim, log)
        first = pull(queue, log, 0, "HA")
        assert (first.status, first.next_begin_offset) == (Status.NO_MATCHED_MESSAGE, 800), (
            "one pull reads 16,000 bytes of entries"
        )
        assert response_code(first.status, 0) is ResponseCode.PULL_RETRY_IMMEDIATELY
        assert log.reads == 0, "the log is not touched for a message that is not wanted"
        third = pull(queue, log, 1_600, "HA")
        assert (third.status, third.next_begin_offset, log.reads) == (Status.FOUND, 2_000, 1)


def test_a_pull_reads_more_entries_when_more_messages_are_asked_for() -> None:
    with Simulation(seed=1) as sim:
        log = PaperLog()
        for _ in range(1_200):
            log.put(tag="UA")
        assert pull(queue_of(sim, log), log, 0, "HA", max_messages=1_000).next_begin_offset == 1_000


def test_a_record_that_the_log_has_let_go_of_is_passed_over() -> None:
    with Simulation(seed=1) as sim:
        log = PaperLog()
        for number in range(6):
            log.put(body=b"%d" % number)
        queue = queue_of(sim, log)
        log.min_physical_offset = log.requests[4].physical_offset
        result = pull(queue, log, 0)
        assert (result.status, bodies(result.records)) == (Status.FOUND, [b"4", b"5"])
        log.min_physical_offset = len(log.data)
        result = pull(queue, log, 0)
        assert (result.status, result.next_begin_offset) == (Status.MESSAGE_WAS_REMOVING, 6)
        assert response_code(result.status, 0) is ResponseCode.PULL_RETRY_IMMEDIATELY


def test_a_filler_is_passed_over_without_reading_two_gigabytes() -> None:
    with Simulation(seed=1) as sim:
        log = PaperLog()
        for number in (0, 1, 4, 5):
            log.put(queue_offset=number)
        queue = queue_of(sim, log)
        before, behind = pull(queue, log, 0), pull(queue, log, 2)
        assert (len(before.records), before.next_begin_offset) == (2, 2), "its size is above every limit"
        assert (len(behind.records), behind.next_begin_offset, log.reads) == (2, 6, 4)


@pytest.mark.parametrize(
    ("limits", "body_bytes", "asked", "returned"),
    [
        (LIMITS, 1, 10, 10),
        (LIMITS, 1, 100, 32),
        (LIMITS, 10_000, 100, 25),  # 262,144 bytes
        (replace(LIMITS, memory_bytes=-1), 1, 100, 8),
        (replace(LIMITS, memory_bytes=-1), 10_000, 100, 6),  # 65,536 bytes
        (LIMITS, 1, 0, 1),
        (LIMITS, 300_000, 100, 1),  # the first message is returned whatever its size
    ],
)
def test_one_pull_returns_at_most_what_the_limits_say(
    limits: Limits, body_bytes: int, asked: int, returned: int
) -> None:
    with Simulation(seed=1) as sim:
        log = PaperLog()
        for _ in range(50):
            log.put(body=bytes(body_bytes))
        result = pull(queue_of(sim, log), log, 0, max_messages=asked, limits=limits)
        assert (len(result.records), result.next_begin_offset) == (returned, returned)


def test_what_lies_far_behind_the_end_of_the_log_counts_as_on_disk() -> None:
    with Simulation(seed=1) as sim:
        log = PaperLog()
        for _ in range(50):
            log.put(body=bytes(900))
        queue = queue_of(sim, log)
        limits = replace(LIMITS, memory_bytes=10_000)
        old, young = pull(queue, log, 0, limits=limits), pull(queue, log, 40, limits=limits)
        assert (len(old.records), old.is_far_behind) == (8, True)
        assert (len(young.records), young.is_far_behind) == (10, False)


def test_a_tag_is_compared_by_its_hash_and_a_stranger_with_the_same_hash_passes() -> None:
    wanted = TagFilter(build_subscription("flights", "N713EV || N633AA"))
    assert wanted.matches_entry(build_subscription("flights", "N713EV").code_set[0])
    assert not wanted.matches_entry(0) and not wanted.matches_entry(1)
    assert build_subscription("t", "AaTopic#BB").code_set == build_subscription("t", "BBTopic#Aa").code_set
    assert TagFilter(build_subscription("t", "AaTopic#BB")).matches_entry(-10606476)


def test_only_the_low_32_bits_of_a_code_are_a_hash() -> None:
    assert TagFilter(build_subscription("t", "TagA")).matches_entry((5 << 32) + 2598919)
    assert int32(-10606476) == -10606476
    assert int32((5 << 32) + 2598919) == 2598919
    assert int32(0xFFFFFFFF) == -1


@given(
    st.lists(st.tuples(st.integers(0, 1), st.sampled_from(["HA", "UA", "DL", ""])), max_size=120),
    st.sampled_from(["*", "HA", "UA || DL", "ZZ"]),
    st.integers(1, 9),
    st.integers(0, 2**32),
)
def test_a_consumer_that_goes_where_it_is_sent_sees_its_messages_once_and_in_order(
    sent: list[tuple[int, str]], expression: str, max_messages: int, seed: int
) -> None:
    """I3.4, wherever it begins: below the minimum, in the middle, or beyond the end."""
    with Simulation(seed=1) as sim:
        log, draw = PaperLog(), random.Random(seed)
        for number, (queue_id, tag) in enumerate(sent):
            log.put(queue_id=queue_id, tag=tag, body=b"%d" % number)
        queue = queue_of(sim, log, per_file=7)
        for _ in range(draw.randrange(3)):
            queue.write_tail()
        at, seen, touched = 0, [], 0
        for _ in range(3 * len(sent) + 3):
            result = pull(queue, log, at, expression, max_messages)
            seen += bodies(result.records)
            touched += len(result.records)
            assert result.next_begin_offset >= at
            at = result.next_begin_offset
        tags = expression.split(" || ")
        assert seen == [
            b"%d" % number
            for number, (queue_id, tag) in enumerate(sent)
            if queue_id == 0 and (expression == "*" or tag in tags)
        ]
        assert log.reads == touched, "only what is returned is read from the log"
