"""A store that copies another's log, and one whose log is cut: the two seams that replication plugs into."""

import asyncio
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chapters.story import january
from mq.commitlog.hosts import encode_host
from mq.commitlog.put import AppendResult, InnerMessage, PutStatus
from mq.commitlog.store import MessageStore
from mq.consumequeue.index import IndexService
from mq.consumequeue.store import QueueStore
from mq.routing.broker import Broker
from mq.runtime.errors import StoreError
from mq.sim.simulation import Simulation
from mq.system import build_broker

SMALL = {
    "listenPort": "0",
    "mappedFileSizeCommitLog": "8192",
    "mappedFileSizeConsumeQueue": "400",
    "maxHashSlotNum": "64",
    "maxIndexNum": "50",
}
HOST = encode_host("10.0.0.1:10911")
EVENTS = january()[:200]


def put(store: MessageStore, begin: int, end: int) -> None:
    """January's events from one number to another, in three queues."""
    results: list[AppendResult] = []
    for event in EVENTS[begin:end]:
        properties = {"KEYS": event.key, "TAGS": event.tag}
        text = f"KEYS\x01{event.key}\x02TAGS\x01{event.tag}"
        queue_id = len(event.key) % 3
        message = InnerMessage("flights", queue_id, event.body, properties, text, event.when_ms, HOST, HOST)
        store.put(message, results.append)
    store.write_out()
    assert [result.status for result in results] == [PutStatus.PUT_OK] * (end - begin)


def log_of(broker: Broker) -> bytes:
    """Every byte of the log, from its first to its end."""
    store = broker.part(MessageStore)
    data, position = b"", store.min_physical_offset
    while position < store.max_physical_offset:
        piece = store.read(position, 1 << 20)
        data, position = data + piece, position + len(piece)
    return data


def derived(broker: Broker) -> tuple[object, ...]:
    """Queues and index as they can be asked for."""
    queues, index = broker.part(QueueStore), broker.part(IndexService)
    entries = {
        key: [queue.entry_at(number) for number in range(queue.max_queue_offset)]
        for key, queue in queues.queues.items()
        if queue.max_queue_offset
    }
    keys = sorted({event.key for event in EVENTS})
    found = {key: index.query("flights", key, 64, 0, 1 << 60).physical_offsets for key in keys}
    return entries, found


def two_brokers(sim: Simulation) -> tuple[Broker, Broker]:
    return build_broker(sim.node("a"), SMALL, 3), build_broker(sim.node("b"), SMALL, 3)


@settings(max_examples=12)
@given(seed=st.integers(0, 1 << 32), most=st.sampled_from([1, 7, 300, 5_000, 40_000]))
def test_a_log_that_is_copied_in_pieces_of_any_size_gives_the_same_queues(seed: int, most: int) -> None:
    with Simulation(1) as sim:
        master, copy = two_brokers(sim)

        async def main() -> None:
            await sim.on("a", master.start())
            await sim.on("b", copy.start())
            put(master.part(MessageStore), 0, 60)
            data, position, draw = log_of(master), 0, random.Random(seed)
            while position < len(data):
                piece = data[position : position + draw.randint(1, most)]
                copy.part(MessageStore).append_raw(position, piece)
                position += len(piece)
            assert log_of(copy) == data
            assert derived(copy) == derived(master)
            copy.part(MessageStore).learn_queue_ends()
            put(master.part(MessageStore), 60, 70)
            put(copy.part(MessageStore), 60, 70)
            assert derived(copy) == derived(master), "who copied goes on with the next queue offset"

        sim.run(main)


def test_a_copy_may_begin_with_the_masters_last_segment_and_survives_a_restart() -> None:
    with Simulation(2) as sim:
        master, copy = two_brokers(sim)

        async def main() -> None:
            await sim.on("a", master.start())
            await sim.on("b", copy.start())
            put(master.part(MessageStore), 0, 100)
            log = master.part(MessageStore).log
            first = log.segments.starts[-1]
            data = log.read(first, log.end - first)
            copy.part(MessageStore).append_raw(first, data)
            assert copy.part(MessageStore).min_physical_offset == first
            ends = copy.part(QueueStore).queue_ends()
            assert ends == master.part(QueueStore).queue_ends()
            await asyncio.sleep(70)  # the timers write and sync what nobody waits for
            sim.kill("b", death="power")
            again = build_broker(sim.restart("b"), SMALL, 3)
            await sim.on("b", again.start())
            assert log_of(again) == data
            assert again.part(QueueStore).queue_ends() == ends

        sim.run(main)


def test_bytes_for_another_place_are_refused_and_change_nothing() -> None:
    with Simulation(3) as sim:
        master, _ = two_brokers(sim)

        async def main() -> None:
            await sim.on("a", master.start())
            store = master.part(MessageStore)
            put(store, 0, 10)
            before = log_of(master)
            for place in (0, store.log.end - 1, store.log.end + 1):
                with pytest.raises(StoreError, match=f"bytes for {place} came; the log goes on at"):
                    store.append_raw(place, b"xyz")
            assert log_of(master) == before

        sim.run(main)


@pytest.mark.parametrize("kept", [0, 1, 37, 79, 80])
def test_a_log_that_is_cut_is_as_if_what_lay_behind_had_never_been(kept: int) -> None:
    with Simulation(4) as sim:
        cut, never = two_brokers(sim)

        async def main() -> None:
            await sim.on("a", cut.start())
            await sim.on("b", never.start())
            put(never.part(MessageStore), 0, kept)
            put(cut.part(MessageStore), 0, kept)
            place = cut.part(MessageStore).log.end
            put(cut.part(MessageStore), kept, 80)
            await asyncio.sleep(70)  # what is to go has reached the files
            cut.part(MessageStore).truncate(place)
            assert derived(cut) == derived(never)
            put(cut.part(MessageStore), 100, 150)
            put(never.part(MessageStore), 100, 150)
            assert [len(log_of(broker)) for broker in (cut, never)] == [len(log_of(never))] * 2
            assert derived(cut) == derived(never)
            await asyncio.sleep(70)
            sim.kill("a", death="power")
            again = build_broker(sim.restart("a"), SMALL, 3)
            await sim.on("a", again.start())
            assert derived(again) == derived(never), "and a power cut brings nothing of it back"
            with pytest.raises(StoreError, match="cannot cut at"):
                again.part(MessageStore).truncate(again.part(MessageStore).log.end + 1)

        sim.run(main)
