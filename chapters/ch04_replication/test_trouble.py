"""What deletion, failing disks and another past do to a master and its slave: nothing silently."""

import asyncio
import errno

import pytest

from chapters.ch04_replication.pair import MASTER, SLAVE, Pair, bodies_of, end_of, log_of
from chapters.ch04_replication.test_deaths import ahead
from chapters.ch04_replication.test_pair import following, play
from mq.commitlog.store import MessageStore
from mq.replication.follower import Follower
from mq.runtime.errors import MQError
from mq.sim.faults import FailingDisk, FullDisk, SlowDisk

# ---------------------------------------------------------------- bytes that are gone, or no log


def test_a_slave_that_is_overtaken_by_deletion_is_told_so_instead_of_hearing_that_it_has_everything() -> None:
    async def story(pair: Pair) -> None:
        await following(pair)
        pair.slow(2_000)
        await pair.tell(300, 1_000)
        store = pair.master.part(MessageStore)
        while len(store.log.segments.starts) > 1:
            store.log.segments.delete_first()
        pair.slow(0)
        await asyncio.sleep(30)
        assert end_of(pair.slave) < store.min_physical_offset
        refused = pair.events("slave refused")
        assert refused and all("what came then is gone" in said for said in refused), (
            f"the slave lacks bytes that are gone, and nobody says so: {refused}"
        )
        assert log_of(pair.slave) == log_of(pair.slave)[: end_of(pair.slave)], "it has no hole"

    play(story, "ASYNC_MASTER")


@pytest.mark.parametrize(("size", "before"), [("8192", 10), ("32768", 130)])
def test_a_slave_whose_segments_have_another_size_stops_where_it_cannot_read_on(
    size: str, before: int
) -> None:
    """Their files may begin at the same places; a record that crosses one of its own has no reader there."""

    async def story(pair: Pair) -> None:
        await pair.start(MASTER)
        await pair.tell(before)
        await pair.open(SLAVE, mappedFileSizeCommitLog=size)
        await asyncio.sleep(1)
        await pair.tell(200)
        await asyncio.sleep(10)
        assert pair.slave.part(Follower).has_diverged, (
            f"a log that nobody here can read grows: {pair.ends()}, "
            f"read to {pair.slave.part(MessageStore).reput.dispatched_to}"
        )
        assert "their segments are of two sizes" in pair.events("not following")[0]

    play(story, "ASYNC_MASTER")


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        ("7fffffff daa320a7", "a record of 2147483647 bytes cannot be"),
        ("00004001 daa320a7", "a record of 16385 bytes|are wanted"),
        ("00000010 daa320a7", "a record of 16 bytes cannot be"),
        ("00000100 bbccdd88", "magic 0xbbccdd88"),
        ("00000100 cbd43194", "a BLANK mark of 256 bytes does not end"),
        ("00000000 00000000", "nothing is written here"),
    ],
)
def test_a_record_that_cannot_become_one_is_not_waited_for(head: str, reason: str) -> None:
    """Eight bytes say so; the slave does not go on copying until so many more have come."""

    async def story(pair: Pair) -> None:
        await following(pair)
        await pair.statuses(b"one")
        pair.slave.part(MessageStore).append_raw(end_of(pair.slave), bytes.fromhex(head) + b"more")
        with pytest.raises(MQError, match=reason):
            pair.slave.part(Follower).taken()

    play(story)


def test_half_a_record_is_waited_for() -> None:
    async def story(pair: Pair) -> None:
        await following(pair)
        for piece in ("0000", "0100daa320", "a7", "00" * 100):
            pair.slave.part(MessageStore).append_raw(end_of(pair.slave), bytes.fromhex(piece))
            pair.slave.part(Follower).taken()

    play(story)


# ---------------------------------------------------------------- disks


def test_a_slave_whose_disk_failed_reports_nothing_more() -> None:
    """A failed sync leaves in doubt what is there: whoever goes on reporting it lets others rely on it."""

    async def story(pair: Pair) -> None:
        pair.sim.node(SLAVE)
        pair.sim.wrap_disk(SLAVE, lambda node, disk: FailingDisk(node, disk, "sync", 1, 1_000))
        await following(pair)
        assert await pair.statuses(b"one") == ["SEND_OK"]
        await pair.until(lambda: pair.slave.part(MessageStore).flusher.has_failed)
        found = await pair.statuses(b"two", b"three")
        assert "SEND_OK" not in found, f"acknowledged for a copy on a failed disk: {found}"
        assert any("the disk failed" in said for said in pair.events("not following"))
        joined = len(pair.events("slave joined"))
        await asyncio.sleep(60)
        assert len(pair.events("slave joined")) == joined, "it does not come back until it is started again"

    play(story)


def test_a_slave_whose_disk_is_full_keeps_asking_and_catches_up_when_there_is_room() -> None:
    async def story(pair: Pair) -> None:
        disk = FullDisk(node := pair.sim.node(SLAVE), node.disk, room_bytes=20_000)
        pair.sim.wrap_disk(SLAVE, lambda *_: disk)
        await following(pair)
        found = await pair.statuses(*[b"%d" % n + bytes(3_000) for n in range(10)])
        assert found[0] == "SEND_OK" and found[-1] == "SLAVE_NOT_AVAILABLE"
        assert any("No space left" in said for said in pair.events("not following"))
        disk.room_bytes = 1 << 30
        await pair.equal(10)
        assert log_of(pair.slave) == log_of(pair.master)
        assert await pair.statuses(b"again") == ["SEND_OK"]

    play(story)


def test_a_master_that_cannot_read_its_log_says_so_and_the_slave_goes_on_later() -> None:
    """A heartbeat from a master that cannot read would say that there is nothing to send."""

    async def story(pair: Pair) -> None:
        await pair.start(MASTER)
        await pair.statuses(*[b"%d" % n for n in range(5)])
        store = pair.master.part(MessageStore)
        read, store.read = store.read, _unreadable  # type: ignore[method-assign]
        await pair.open(SLAVE)
        await asyncio.sleep(12)
        complaints = pair.events("log not read for a slave")
        assert 2 <= len(complaints) <= 4, f"said each time that the slave asks: {complaints}"
        left = pair.events("slave left")
        assert left == [f"{MASTER} slave left: our log could not be read"] * len(complaints), (
            f"a connection that cannot be served stands, as if there were nothing to send: {left}"
        )
        assert end_of(pair.slave) == 0
        store.read = read  # type: ignore[method-assign]
        await pair.equal(6)

    play(story, "ASYNC_MASTER")


def _unreadable(physical_offset: int, size: int) -> bytes:
    raise OSError(errno.EIO, "Input/output error")


def test_a_slow_disk_of_the_slave_delays_nobody() -> None:
    """What is acknowledged is a received copy, not a synced one."""

    async def story(pair: Pair) -> None:
        pair.sim.node(SLAVE)
        pair.sim.wrap_disk(SLAVE, lambda node, disk: SlowDisk(node, disk, 2_000))
        await following(pair)
        begun_s = pair.sim.loop.time()
        assert await pair.statuses(b"one", b"two") == ["SEND_OK"] * 2
        assert pair.sim.loop.time() - begun_s < 0.1

    play(story, flushDiskType="SYNC_FLUSH")


# ---------------------------------------------------------------- what nothing here can see


def test_after_another_restart_nobody_can_tell_that_a_slave_comes_from_another_past() -> None:
    """A lost tail, as many other bytes, a restart: a report has no history, and nothing here gives it one."""

    async def story(pair: Pair) -> None:
        end = await ahead(pair)
        kept, had = bodies_of(pair.master), bodies_of(pair.slave)
        others = [b"else %d" % number + bytes(3_000) for number in range(len(had) - len(kept))]
        assert set(await pair.statuses(*others)) == {"SLAVE_NOT_AVAILABLE"}, "so far it is refused"
        assert end_of(pair.master) == end
        await pair.again(MASTER)
        await asyncio.sleep(11)
        await pair.read()
        assert await pair.statuses(b"both") == ["SEND_OK"]
        assert bodies_of(pair.master) == [*kept, *others, b"both"]
        assert bodies_of(pair.slave) == [*had, b"both"], "two logs of one length, and both are believed"

    play(story)
