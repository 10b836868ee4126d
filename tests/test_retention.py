"""Retention: which messages go, when, and what everybody is told who asks for them afterwards.

All of it in virtual time, with RocketMQ's own 72 hours and its four o'clock. Ages are told by the wall clock,
as in 4.9.8: where a test sets a clock forward, days pass in one moment, and that is what it proves.
"""

import asyncio
import errno
import os
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from chapters.ch02_commitlog.stores import inner
from mq.commitlog.client import Producer, SendResult, SendStatus, view_message
from mq.commitlog.config import MessageStoreConfig
from mq.commitlog.message import Message
from mq.commitlog.put import PutStatus
from mq.commitlog.retention import Cleaning, Retention, RetentionRules, percent_of
from mq.commitlog.store import MessageStore
from mq.consumequeue.client import PullConsumer, PullStatus
from mq.consumequeue.index import IndexService
from mq.consumequeue.store import QueueStore
from mq.routing.broker import Broker
from mq.routing.client import ClientInstance, create_topic
from mq.routing.route import MessageQueue
from mq.routing.topics import TopicConfig
from mq.runtime.disk import Disk, DiskUsage
from mq.runtime.errors import MQError, SettingsError
from mq.runtime.node import Node
from mq.runtime.real import RealNode
from mq.runtime.settings import fill
from mq.sim.crashes import enumerate_crashes
from mq.sim.faults import DiskFault
from mq.sim.node import EPOCH_MS
from mq.sim.simulation import Simulation
from mq.system import build_broker, build_namesrv
from mq.wire.errors import RemoteError

HOUR_S = 3600
SETTINGS = {"mappedFileSizeCommitLog": "8192", "mappedFileSizeConsumeQueue": "200", "maxHashSlotNum": "64",
            "maxIndexNum": "5"}  # fmt: skip
QUEUE = MessageQueue("flights", "broker-a", 0)
BODY_BYTES = 5000  # two of them do not fit into a segment of 8 KiB, and they are stored as they are


class Fullness(DiskFault):
    """Says of the disk what it is told to say; everything else is passed on."""

    def __init__(self, node: Node, inner: Disk, used_percent: int = 50) -> None:
        super().__init__(node, inner)
        self.used_percent = used_percent

    def usage(self) -> DiskUsage:
        return DiskUsage(100, self.used_percent)


class Stuck(DiskFault):
    """Removes no segment."""

    is_stuck = True

    def before(self, kind: str, path: str) -> None:
        if self.is_stuck and kind == "remove" and path.startswith("commitlog/"):
            raise OSError(errno.EROFS, "Read-only file system")


class World:
    """A NameServer, a broker of chapter 3 and a client; the disk is as full as `fullness` says."""

    def __init__(self, sim: Simulation, fullness: int | None = None, **properties: str) -> None:
        self.sim = sim
        self.fullness: Fullness | None = None
        names = build_namesrv(sim.node("names", "10.0.0.100"))
        sim.run(sim.on("names", names.start()))
        if fullness is not None:
            sim.wrap_disk("broker", lambda node, disk: self._wrapped(node, disk, fullness))
        self.properties = {"namesrvAddr": names.address, **SETTINGS, **properties}
        self.broker: Broker = build_broker(sim.node("broker"), self.properties, chapter=3)
        sim.run(sim.on("broker", self.broker.start()), timeout_s=60)
        self.instance = ClientInstance(sim.node("client"), names.address)
        self.producer = Producer(self.instance, "airports")
        self.producer.compress_over_bytes = 1 << 30
        self.consumer = PullConsumer(self.instance, "gates")
        self.do(self._begin())

    def _wrapped(self, node: Node, disk: Disk, used_percent: int) -> Fullness:
        self.fullness = Fullness(node, disk, used_percent)
        return self.fullness

    async def _begin(self) -> None:
        await self.instance.start()
        await self.instance.add(self.producer)
        await self.instance.add(self.consumer)
        await create_topic(self.instance, self.broker.address, TopicConfig("flights", 1, 1))
        await self.instance.routes.find("flights")

    @property
    def store(self) -> MessageStore:
        return self.broker.part(MessageStore)

    @property
    def segments(self) -> list[int]:
        """The first positions of the segments that are there."""
        return self.store.log.segments.starts

    def do(self, work: Coroutine[Any, Any, Any], timeout_s: float = 120) -> Any:
        """Run it on the client's machine."""
        return self.sim.run(self.sim.on("client", work), timeout_s=timeout_s)

    def wait(self, seconds: float) -> None:
        """Let virtual time pass."""
        self.sim.run(asyncio.sleep(seconds))

    def send(self, count: int = 1) -> list[SendResult]:
        """So many messages, a segment each, one after the other. Number n has the key `kn` in its queue."""

        async def every() -> list[SendResult]:
            return [await self._send_one() for _ in range(count)]

        results: list[SendResult] = self.do(every())
        return results

    async def _send_one(self) -> SendResult:
        number = self.store.next_queue_offset("flights", 0)
        body = b"%d " % number + bytes(BODY_BYTES)
        return await self.producer.send(Message("flights", body, keys=f"k{number}"), QUEUE)

    def served(self) -> list[int]:
        """The numbers of all messages that a consumer gets, which begins at 0 and goes where it is sent."""

        async def walk() -> list[int]:
            found: list[int] = []
            queue_offset = 0
            while True:
                outcome = await self.consumer.pull(QUEUE, "*", queue_offset)
                for message in outcome.messages:
                    assert message.body.startswith(b"%d " % message.queue_offset)
                    found.append(message.queue_offset)
                if not outcome.messages and outcome.next_begin_offset == queue_offset:
                    return found
                queue_offset = outcome.next_begin_offset

        numbers: list[int] = self.do(walk())
        return numbers

    def hours_pass(self, hours: float) -> None:
        """On the broker's wall clock alone: set forward, nothing else moves."""
        self.sim.jump_clock("broker", int(hours * HOUR_S * 1000))

    def come_to(self, hour: int, minute: int = 0) -> None:
        """Set the broker's clock forward to the next such time of day (UTC)."""
        now_min = self.sim.node("broker").wall_ms() // 60_000
        self.hours_pass(((hour * 60 + minute - now_min) % 1440) / 60)


def complaints(sim: Simulation, kind: str) -> list[dict[str, object]]:
    """The fields of the journal's events of one kind."""
    return [dict(event.fields) for event in sim.events if event.kind == kind]


# ---------------------------------------------------------------- the rules

NOON_MS, FOUR_MS = EPOCH_MS + 7 * 3_600_000, EPOCH_MS + 23 * 3_600_000  # the clock starts at 05:00


@pytest.mark.parametrize(
    ("used_percent", "now_ms", "due", "at_once", "taken"),
    [
        (75, NOON_MS, False, False, True),
        (75, FOUR_MS, True, False, True),
        (75, FOUR_MS + 3_599_999, True, False, True),
        (75, FOUR_MS + 3_600_000, False, False, True),
        (75, FOUR_MS - 1, False, False, True),
        (76, NOON_MS, True, False, True),
        (85, NOON_MS, True, False, True),
        (86, NOON_MS, True, True, True),
        (90, NOON_MS, True, True, True),
        (91, NOON_MS, True, True, False),
        (100, FOUR_MS, True, True, False),
    ],
)
def test_an_hour_or_a_level_of_the_disk_decides(
    used_percent: int, now_ms: int, due: bool, at_once: bool, taken: bool
) -> None:
    rules = RetentionRules(MessageStoreConfig())
    cleaning = rules.cleaning(now_ms, used_percent)
    assert (cleaning is not None, cleaning is not None and cleaning.at_once) == (due, at_once)
    assert (rules.refusal(used_percent) == "") == taken


def test_several_hours_can_be_named_and_the_reason_says_which_it_is() -> None:
    rules = RetentionRules(fill(MessageStoreConfig, {"deleteWhen": "12;04"}))
    assert rules.cleaning(NOON_MS, 50) == Cleaning("it is 12 o'clock", at_once=False)
    assert rules.cleaning(FOUR_MS, 50) == Cleaning("it is 04 o'clock", at_once=False)


def test_percent_are_rounded_up_as_in_rocketmq() -> None:
    assert [percent_of(DiskUsage(1000, used)) for used in (0, 1, 750, 751, 1000)] == [0, 1, 75, 76, 100]
    assert percent_of(DiskUsage(0, 0)) == 0, "a disk that does not say how large it is, is not full"


@pytest.mark.parametrize(
    ("properties", "sentence"),
    [
        ({"deleteWhen": "24"}, "hours are 00 to 23"),
        ({"deleteWhen": "four"}, "such as 04;16"),
        ({"deleteWhen": ""}, "such as 04;16"),
        ({"diskMaxUsedSpaceRatio": "96"}, "must be 10 to 95"),
        ({"fileReservedTime": "-1"}, "fileReservedTime must be at least 0"),
    ],
)
def test_a_setting_that_makes_no_sense_is_one_sentence(properties: dict[str, str], sentence: str) -> None:
    with pytest.raises(SettingsError, match=sentence):
        fill(MessageStoreConfig, properties)


# ---------------------------------------------------------------- by age and hour


def test_a_message_goes_at_the_first_four_o_clock_after_72_hours_and_not_before() -> None:
    """One message each six hours from 05:00 on January 1; three days later, all night long."""
    with Simulation() as sim:
        world = World(sim)
        for _ in range(6):  # until 11:00 on the 2nd
            world.send()
            world.hours_pass(6)
        world.hours_pass(54)  # it is 23:00 on the 4th: the first three are older than 72 hours
        world.wait(4 * HOUR_S)
        assert world.served() == list(range(6)), "old enough, and four o'clock has not come"
        world.hours_pass(56 / 60)
        world.wait(3 * 60)
        assert world.served() == list(range(6)), "03:59"
        world.wait(2 * 60)
        assert world.served() == [3, 4, 5], "the fourth's end mark was written at 05:00 on the 2nd"
        world.wait(58 * 60)
        assert world.served() == [3, 4, 5], "05:00 comes after the hour of four"
        world.hours_pass(22)
        world.wait(2 * HOUR_S)
        assert world.served() == [5], "and the next day at four all but the last"


def test_at_most_ten_segments_go_in_a_pass_with_a_pause_after_each() -> None:
    with Simulation() as sim:
        world = World(sim)
        world.send(24)
        began_s = 60 - sim.loop.time() % 60  # passes begin a minute after the start, each ten seconds
        world.come_to(4)
        world.hours_pass(96)
        world.wait(began_s + 0.05)
        left = [len(world.segments)]
        for _ in range(11):
            world.wait(0.1)
            left.append(len(world.segments))
        assert left == [23, 22, 21, 20, 19, 18, 17, 16, 15, 14, 14, 14], "ten of 24, one each 100 ms"
        world.wait(10)
        assert len(world.segments) == 4
        world.wait(10)
        assert len(world.segments) == 1, "the last segment never goes"
        assert world.served() == [23]
        assert [event["count"] for event in complaints(sim, "segments deleted")] == [10, 10, 3]


def test_everyone_who_asks_for_what_is_gone_is_told_where_the_log_begins() -> None:
    """A month-old store: consumers, keys, times and ids, before and after."""
    with Simulation() as sim:
        world = World(sim)
        sent = world.send(12)
        world.hours_pass(24 * 31)
        sent += world.send(3)  # the first of them ends the file of number 11, which is young by that
        assert world.served() == list(range(15))
        world.come_to(4)
        world.wait(80)
        assert world.served() == [11, 12, 13, 14]
        assert world.store.min_physical_offset == world.segments[0] > 0

        async def ask() -> None:
            outcome = await world.consumer.pull(QUEUE, "*", 3)
            assert (outcome.status, outcome.messages) == (PullStatus.OFFSET_ILLEGAL, [])
            assert (outcome.next_begin_offset, outcome.min_offset, outcome.max_offset) == (11, 11, 15)
            assert await world.consumer.min_offset(QUEUE) == 11
            assert await world.consumer.search_offset(QUEUE, EPOCH_MS) == 11
            assert await world.consumer.query_message("flights", "k3") == []
            (found,) = await world.consumer.query_message("flights", "k13")
            assert found.queue_offset == 13
            assert (await view_message(world.instance, sent[13].offset_msg_id)).queue_offset == 13
            with pytest.raises(RemoteError, match="can not find message by the offset"):
                await view_message(world.instance, sent[3].offset_msg_id)

        world.do(ask())
        assert world.send()[0].queue_offset == 15, "queue offsets go on, whatever is gone"


def test_queue_files_and_index_files_that_know_nothing_else_go_too() -> None:
    with Simulation() as sim:
        world = World(sim)
        world.send(30)
        world.hours_pass(24 * 30)
        world.wait(70)  # a thorough flush: tails and index are files now
        disk = sim.node("broker").disk
        before = len(disk.list("consumequeue/flights/0")), len(disk.list("index"))
        world.come_to(4)
        world.wait(60)
        after = len(disk.list("consumequeue/flights/0")), len(disk.list("index"))
        assert (before, after) == ((3, 15), (1, 1))
        assert world.broker.part(QueueStore).find("flights", 0).min_queue_offset == 29  # type: ignore[union-attr]
        assert len(world.broker.part(IndexService).files) == 1


def test_after_a_restart_the_log_still_begins_where_it_was_cut() -> None:
    with Simulation() as sim:
        world = World(sim)
        world.send(8)
        world.hours_pass(24 * 30)
        world.send(2)
        world.come_to(4)
        world.wait(80)
        assert world.served() == [7, 8, 9]
        for death in ("process", "power"):
            sim.kill("broker", death)
            world.broker = build_broker(sim.restart("broker"), world.properties, chapter=3)
            sim.run(sim.on("broker", world.broker.start()), timeout_s=60)
            world.wait(31)
            served = world.served()
            assert served == list(range(served[0], 10)) and served[0] <= 7
            assert served[0] == 7 or death == "power", "a removed file may come back when the power goes"
            world.wait(60)
            assert world.served() == [7, 8, 9], "and is removed again"


# ---------------------------------------------------------------- by the fullness of the disk


def test_above_75_percent_what_is_old_goes_at_any_hour_and_what_is_young_stays() -> None:
    with Simulation() as sim:
        world = World(sim, fullness=75)
        world.send(4)
        world.hours_pass(73)  # 06:00: not the hour
        world.send(3)
        world.wait(80)
        assert world.served() == list(range(7))
        assert world.fullness is not None
        world.fullness.used_percent = 76
        world.wait(11)
        assert world.served() == [3, 4, 5, 6]
        world.fullness.used_percent = 85
        world.wait(60)
        assert world.served() == [3, 4, 5, 6], "85 % is not above 85 %"


@pytest.mark.parametrize("enabled", ["true", "false"])
def test_above_85_percent_age_counts_no_more_unless_that_is_switched_off(enabled: str) -> None:
    with Simulation() as sim:
        world = World(sim, fullness=86, cleanFileForciblyEnable=enabled)
        world.send(5)
        world.wait(80)
        left = [4] if enabled == "true" else [0, 1, 2, 3, 4]
        assert world.served() == left
        assert len(complaints(sim, "segments deleted")) == (1 if enabled == "true" else 0)


def test_above_90_percent_sends_are_refused_with_14_and_reads_go_on_until_there_is_room() -> None:
    with Simulation() as sim:
        world = World(sim, fullness=90, cleanFileForciblyEnable="false")
        world.wait(11)
        assert world.send(2)[0].status is SendStatus.SEND_OK
        assert world.fullness is not None
        world.fullness.used_percent = 91
        world.wait(10)
        with pytest.raises(RemoteError, match="the disk is 91 % full; above 90 %") as refused:
            world.send()
        assert refused.value.code == 14
        assert world.served() == [0, 1]
        world.fullness.used_percent = 90
        world.wait(10)
        assert world.send()[0].queue_offset == 2
        assert (len(complaints(sim, "disk too full")), len(complaints(sim, "disk has room again"))) == (1, 1)


def test_a_broker_that_stops_while_its_disk_is_too_full_has_ended_cleanly() -> None:
    with Simulation() as sim:
        world = World(sim, fullness=50)
        world.send(2)
        assert world.fullness is not None
        world.fullness.used_percent = 95
        world.wait(11)
        assert world.store.refusal.startswith("the disk is 95 % full")
        sim.run(sim.on("broker", world.broker.stop()), timeout_s=60)
        assert not sim.node("broker").disk.exists("abort")


def test_a_store_whose_disk_failed_does_not_recover_because_there_is_room_again() -> None:
    with Simulation() as sim:
        world = World(sim, fullness=95)
        world.wait(2)
        world.store._poison(OSError(errno.EIO, "Input/output error"))
        assert world.fullness is not None
        world.fullness.used_percent = 10
        world.wait(11)
        assert "in doubt until a restart" in world.store.refusal
        with pytest.raises(RemoteError, match="in doubt until a restart"):
            world.send()


def test_a_small_disk_never_fills_because_the_oldest_go_first() -> None:
    """The disk's own count this time: 2 MiB, into which 600 messages of 5 kB are sent in twenty minutes."""
    with Simulation() as sim:
        world = World(sim, mappedFileSizeCommitLog="65536", maxIndexNum="100")
        platter = sim.node("broker").machine.platter
        platter.total_bytes = 2 << 20
        fullest = 0
        for _ in range(60):
            assert {result.status for result in world.send(10)} == {SendStatus.SEND_OK}
            world.wait(20)
            fullest = max(fullest, percent_of(DiskUsage(platter.total_bytes, platter.used_bytes())))
        assert platter.total_bytes < 600 * BODY_BYTES, "it could not have held them all"
        assert 80 < fullest <= 91
        served = world.served()
        assert served[-1] == 599 and served == list(range(served[0], 600)) and len(served) > 200


def test_a_disk_that_does_not_say_how_full_it_is_is_a_complaint_and_nothing_else() -> None:
    class Silent(DiskFault):
        def usage(self) -> DiskUsage:
            raise OSError(errno.EIO, "Input/output error")

    with Simulation() as sim:
        sim.wrap_disk("broker", Silent)
        world = World(sim)
        world.send(2)
        world.wait(70)
        assert world.served() == [0, 1]
        assert complaints(sim, "disk not measured")


# ---------------------------------------------------------------- what must not go wrong


def test_what_was_not_dispatched_yet_does_not_go() -> None:
    """A confirmed offset holds the last messages back, however old they are."""
    with Simulation() as sim:
        world = World(sim)
        results = world.send(4)
        held = world.segments[2]
        world.store.confirm_offsets.append(lambda: held)
        world.send(3)
        assert results[3].queue_offset == 3
        world.hours_pass(24 * 30)
        world.come_to(4)
        world.store.reput.dispatched_to = held  # as after a restart
        world.wait(80)
        assert world.segments[0] == held


def test_a_file_that_cannot_be_removed_stays_first_and_goes_when_it_can() -> None:
    with Simulation() as sim:
        faults: list[Stuck] = []

        def stuck(node: Node, disk: Disk) -> Stuck:
            faults.append(Stuck(node, disk))
            return faults[-1]

        sim.wrap_disk("broker", stuck)
        world = World(sim)
        world.send(6)
        world.hours_pass(24 * 30)
        world.come_to(4)
        world.wait(65)
        assert complaints(sim, "not cleaned")
        assert len(world.segments) == 6 and world.served() == list(range(6)), "nothing is skipped"
        faults[-1].is_stuck = False
        world.wait(11)
        assert world.served() == [5]


@pytest.mark.parametrize("death", ["process", "power"])
def test_a_death_at_any_moment_of_a_cleaning_costs_no_message_that_was_to_stay(death: str) -> None:
    kept: list[int] = []

    def scenario(sim: Simulation) -> None:
        world = World(sim, flushDiskType="SYNC_FLUSH")
        world.send(7)
        world.hours_pass(24 * 30)
        world.come_to(3, 58)
        world.send(3)
        world.wait(55)
        world.hours_pass(0.05)
        world.wait(80)
        kept[:] = [7, 8, 9]

    def check(sim: Simulation) -> None:
        properties = {"namesrvAddr": "10.0.0.100:9876", **SETTINGS}
        broker = build_broker(sim.node("broker"), properties, chapter=3)
        sim.run(sim.on("broker", broker.start()), timeout_s=60)
        queue = broker.part(QueueStore).find("flights", 0)
        store = broker.part(MessageStore)
        if queue is None or queue.max_queue_offset == 0:
            return  # died before anything was sent
        there = range(queue.min_queue_offset, queue.max_queue_offset)
        entries = [entry for entry in map(queue.entry_at, there) if entry is not None]
        records = [store.record_at(entry.physical_offset, entry.size) for entry in entries]
        numbers = [record.queue_offset for record in records if record is not None]
        assert numbers == list(there), "an entry whose record is gone"
        assert there.start <= 6, "something is gone that was young"
        log_begins = store.record_at(store.min_physical_offset, store.size_at(store.min_physical_offset))
        assert log_begins is not None and log_begins.queue_offset == queue.min_queue_offset

    report = enumerate_crashes(scenario, check, "broker", death, points=60, changing_only=True)
    assert report.fired > 50 and kept


def test_retention_is_a_part_that_other_floors_can_find() -> None:
    with Simulation() as sim:
        world = World(sim)
        assert world.broker.part(Retention).rules.hours == {4}
        with pytest.raises(MQError):
            build_broker(sim.node("other"), {"deleteWhen": "nine"}, chapter=2)


# ---------------------------------------------------------------- real files


def test_real_files_go_by_the_time_of_their_last_write(tmp_path: Path) -> None:
    """A store on a real disk; the first three of five segments are made to look 73 hours old."""

    async def story() -> None:
        node = RealNode("broker", str(tmp_path))
        every_hour = ";".join(str(hour) for hour in range(24))
        settings = {**SETTINGS, "deleteWhen": every_hour, "cleanFileForciblyEnable": "false"}
        config = fill(MessageStoreConfig, settings)
        store = MessageStore(node, config)
        retention = Retention(node, config, store)
        await store.start()
        for number in range(5):
            assert (await store.put_and_wait(inner(b"%d" % number * BODY_BYTES))).status is PutStatus.PUT_OK
        files = sorted((tmp_path / "commitlog").iterdir())
        for path in files[:3]:
            old_s = path.stat().st_mtime - 73 * HOUR_S
            os.utime(path, (old_s, old_s))
        await retention.clean()
        assert sorted((tmp_path / "commitlog").iterdir()) == files[3:]
        assert store.min_physical_offset == int(files[3].name)
        await retention.clean()
        assert sorted((tmp_path / "commitlog").iterdir()) == files[3:]
        await store.stop()
        node.real_disk.close()

    asyncio.run(story())
