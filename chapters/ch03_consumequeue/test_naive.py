"""The obvious repair, proved wrong; and what holds in its place."""

from zlib import crc32

import pytest

from chapters.ch03_consumequeue.naive import BATCH, Disk, Follower, PowerCut, positions
from chapters.story import DEPARTED, january, new_york_ms, parse
from chapters.toy import QUEUES, Broker
from mq.consumequeue.queue import ENTRY_BYTES, ConsumeQueue
from mq.sim.simulation import Simulation

AIRCRAFT, HERO = "N384HA", "HA51/2013-01-09"
QUEUE = crc32(AIRCRAFT.encode()) % QUEUES


def night() -> Broker:
    """What happened in the night in which HA51 left: two hours of events."""
    broker = Broker()
    for event in january():
        if new_york_ms(10, 5) <= event.when_ms < new_york_ms(10, 7):
            broker.put(crc32(event.key.encode()) % QUEUES, event.key, event.body)
    return broker


def after_a_power_cut(broker: Broker, writes: int) -> Disk:
    """The power goes after so many writes; then the follower starts again and goes on to the end."""
    disk = Disk()
    disk.writes_left = writes
    with pytest.raises(PowerCut):
        Follower(broker, disk).follow()
    disk.writes_left = None
    Follower(broker, disk).follow()
    return disk


def all_writes(broker: Broker) -> int:
    disk = Disk()
    disk.writes_left = 10**9
    Follower(broker, disk).follow()
    return 10**9 - disk.writes_left


def test_without_a_power_cut_the_files_say_what_the_toys_queues_say() -> None:
    broker, disk = night(), Disk()
    Follower(broker, disk).follow()
    for queue_id in range(QUEUES):
        assert positions(disk, queue_id) == broker.queues[queue_id]


def test_a_power_cut_between_the_two_writes_shows_events_twice() -> None:
    """Duplicated: at nearly every moment at which the power can go, a queue says something twice."""
    broker = night()
    writes = all_writes(broker)
    hurt = 0
    for number in range(writes):
        disk = after_a_power_cut(broker, number)
        hurt += any(len(positions(disk, q)) != len(set(positions(disk, q))) for q in range(QUEUES))
    batches = -(-sum(map(len, broker.queues)) // BATCH)
    assert hurt == writes - batches, "it is right only when the power goes just before a batch's first write"


def test_the_display_shows_the_departure_of_ha51_twice() -> None:
    broker = night()
    shown = []
    for number in range(all_writes(broker)):
        disk = after_a_power_cut(broker, number)
        events = [parse(broker.read(position)[1]) for position in positions(disk, QUEUE)]
        shown.append(sum(1 for each in events if each.flight_id == HERO and each.kind == DEPARTED))
    assert max(shown) == 2 and 1 in shown


def test_a_queue_that_knows_how_far_it_has_come_by_its_own_entries_says_everything_once() -> None:
    """I3.2: there is one write, not two, so there is nothing between them."""
    broker = night()
    ends = [*broker.queues[QUEUE][1:], len(broker.log)]
    records = [(start, 1) for start in broker.queues[QUEUE]]
    assert len(records) == len(ends) > 5
    for written in range(len(records)):
        with Simulation(seed=1) as sim:
            disk = sim.node("a").disk
            queue = ConsumeQueue(disk, "flights", QUEUE, 5 * ENTRY_BYTES)
            for number, (position, size) in enumerate(records[:written]):
                queue.append(number, position, size, 0)
            queue.write_tail()
            sim.kill("a")
            again = ConsumeQueue(sim.restart("a").disk, "flights", QUEUE, 5 * ENTRY_BYTES)
            again.load()
            for number, (position, size) in enumerate(records):
                again.append(number, position, size, 0)  # the log from its beginning, whatever was entered
            entries = [again.entry_at(number) for number in range(again.max_queue_offset)]
            assert [(entry.physical_offset, entry.size) for entry in entries if entry] == records
