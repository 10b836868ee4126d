"""Lookup by time, against looking at every message."""

from hypothesis import given
from hypothesis import strategies as st

from chapters.ch03_consumequeue.logs import PaperLog
from mq.consumequeue.bytime import offset_by_time, store_time_ms
from mq.consumequeue.queue import ENTRY_BYTES, ConsumeQueue
from mq.sim.simulation import Simulation


def queue_of(sim: Simulation, log: PaperLog) -> ConsumeQueue:
    queue = ConsumeQueue(sim.node("a").disk, "flights", 0, 3 * ENTRY_BYTES)
    for each in log.requests:
        queue.append(each.queue_offset, each.physical_offset, each.size, 0)
    queue.write_tail()
    return queue


@given(
    st.lists(st.integers(0, 50), max_size=40).map(sorted),
    st.integers(0, 39),
    st.integers(-5, 60),
)
def test_the_nearest_in_time_is_found(times: list[int], gone: int, wanted: int) -> None:
    with Simulation(seed=1) as sim:
        log = PaperLog()
        for time in times:
            log.put(store_ms=time)
        queue = queue_of(sim, log)
        low = min(gone, len(times))
        log.min_physical_offset = log.requests[low].physical_offset if low < len(times) else len(log.data)
        queue.delete_before(log.min_physical_offset)
        found = offset_by_time(queue, log, wanted)
        if low == len(times):
            assert found == 0
        else:
            nearest = min(abs(time - wanted) for time in times[low:])
            assert low <= found < len(times) and abs(times[found] - wanted) == nearest
            earlier = wanted - nearest
            if earlier in times[low:]:
                assert times[found] == earlier, "of two that are equally near, the earlier"


def test_of_two_that_are_equally_near_the_earlier_is_found() -> None:
    with Simulation(seed=1) as sim:
        log = PaperLog()
        for time in (10, 20, 30):
            log.put(store_ms=time)
        queue = queue_of(sim, log)
        assert [offset_by_time(queue, log, time) for time in (15, 16, 25, 26, 99)] == [0, 1, 1, 2, 2]


def test_a_queue_made_again_from_the_log_gives_the_same_answers() -> None:
    """RocketMQ chooses a file by when it was written, and a queue made again has only young files."""
    with Simulation(seed=1) as sim:
        log = PaperLog()
        for day in range(30):
            log.put(store_ms=day * 86_400_000)
        queue = queue_of(sim, log)  # all ten files are written at one moment
        assert [offset_by_time(queue, log, day * 86_400_000) for day in range(30)] == list(range(30))


def test_the_store_time_of_a_message_that_is_gone_is_minus_one() -> None:
    with Simulation(seed=1) as sim:
        log = PaperLog()
        log.put(store_ms=77)
        queue = queue_of(sim, log)
        assert store_time_ms(queue, log, 0) == 77
        assert store_time_ms(queue, log, 1) == -1
        log.min_physical_offset = len(log.data)
        assert store_time_ms(queue, log, 0) == -1
