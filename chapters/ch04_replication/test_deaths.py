"""A master and its slave in the simulator: what every kind of death leaves, and who follows whom then."""

import asyncio

import pytest

from chapters.ch04_replication.pair import MASTER, SLAVE, Pair, bodies_of, end_of, log_of
from chapters.ch04_replication.test_pair import POLICIES, derived, following, play
from mq.clients.groups import SubscriptionGroupConfig, SubscriptionGroupManager
from mq.commitlog.hosts import encode_host
from mq.commitlog.put import InnerMessage
from mq.commitlog.store import MessageStore
from mq.replication.follower import Follower
from mq.replication.haconnection import HAConnection
from mq.replication.protocol import encode_push
from mq.routing.broker import Role


@pytest.mark.parametrize("death", ["process", "power"])
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("seed", [1, 2])
def test_a_slave_that_died_under_load_comes_back_with_whole_records_and_catches_up(
    seed: int, policy: str, death: str
) -> None:
    async def story(pair: Pair) -> None:
        await following(pair)
        pair.sim.network.cut_chance = 0.5
        sending = pair.sim.start(pair.statuses(*[b"%d" % n + bytes(2_500) for n in range(60)]), "send")
        await asyncio.sleep(0.08)
        await pair.again(SLAVE, death, 1)
        await sending
        await pair.equal()
        first = pair.slave.part(MessageStore).min_physical_offset
        assert log_of(pair.slave) == log_of(pair.master, first)
        if death == "process":
            assert first == 0 and derived(pair, SLAVE) == derived(pair, MASTER)
        else:  # with all that it had never synced, it began at the master's last segment
            assert bodies_of(pair.slave) == bodies_of(pair.master)[-len(bodies_of(pair.slave)) :]

    play(story, "ASYNC_MASTER", seed, flushDiskType=policy)


def test_a_slave_that_has_only_the_beginning_of_its_first_record_begins_again_where_the_master_is() -> None:
    """Its recovery finds no record: an empty log may begin at any segment, though a file is there already."""

    async def story(pair: Pair) -> None:
        await following(pair)
        pair.slave.part(MessageStore).append_raw(0, bytes.fromhex("00000100daa320a7"))
        await pair.again(SLAVE)
        pair.sim.kill(SLAVE)
        await pair.statuses(*[bytes(3_000)] * 20)
        pair.sim.restart(SLAVE)
        await pair.open(SLAVE)
        await pair.equal()
        first = pair.slave.part(MessageStore).min_physical_offset
        assert first >= 3 * 16_384
        assert log_of(pair.slave) == log_of(pair.master, first)

    play(story)


@pytest.mark.parametrize("policy", POLICIES)
def test_a_master_whose_process_died_goes_on_with_its_slave(policy: str) -> None:
    async def story(pair: Pair) -> None:
        await following(pair)
        await pair.statuses(*[b"%d" % n for n in range(20)])
        await pair.again(MASTER)
        await pair.until(pair.is_following)
        await pair.read()  # the desk's connection is a new one now
        assert set(await pair.statuses(*[b"more %d" % n for n in range(20)])) == {"SEND_OK"}
        assert log_of(pair.slave) == log_of(pair.master)

    play(story, flushDiskType=policy)


LOST = [b"lost %d" % number + bytes(3_000) for number in range(6)]


async def ahead(pair: Pair) -> int:
    """A master that has lost what its slave has; where the slave's log ends."""
    await following(pair)
    await pair.statuses(b"synced")
    await asyncio.sleep(12)
    await pair.statuses(*LOST)
    await pair.again(MASTER, "power", 1)
    assert end_of(pair.slave) > end_of(pair.master) > 0
    await asyncio.sleep(11)
    await pair.read()
    return end_of(pair.slave)


def test_a_slave_that_is_ahead_is_refused_also_when_the_master_has_grown_past_it() -> None:
    """I4.3: two logs with different pasts are never joined, and the slave keeps what only it has."""

    async def story(pair: Pair) -> None:
        end = await ahead(pair)
        found = await pair.statuses(*[b"another past %d" % n + bytes(1_000) for n in range(30)])
        assert set(found) == {"SLAVE_NOT_AVAILABLE"}
        await asyncio.sleep(20)
        assert end_of(pair.master) > end == end_of(pair.slave)
        assert bodies_of(pair.slave) == [b"synced", *LOST]
        assert pair.events("slave refused")

    play(story)


def test_the_same_slave_follows_again_once_somebody_has_emptied_it() -> None:
    async def story(pair: Pair) -> None:
        await ahead(pair)
        pair.sim.destroy_disk(SLAVE)
        pair.sim.restart(SLAVE)
        await pair.open(SLAVE)
        await pair.equal()
        assert await pair.statuses(b"again") == ["SEND_OK"]
        assert log_of(pair.slave) == log_of(pair.master)

    play(story)


def test_believing_a_slave_that_is_ahead_makes_two_logs_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """What 4.9.8 does with a first report: the logs differ, and what no slave has is acknowledged."""

    def believing(self: HAConnection, physical_offset: int, now_ms: float) -> None:
        self.last_read_ms = now_ms
        if self.next_offset < 0:
            self.next_offset = self.outgoing.begin_for(physical_offset)
        self.ack_offset = physical_offset

    monkeypatch.setattr(HAConnection, "reported", believing)

    async def story(pair: Pair) -> None:
        end = await ahead(pair)
        assert await pair.statuses(b"nobody has it") == ["SEND_OK"], "the ack is older than the message"
        assert b"nobody has it" not in bodies_of(pair.slave)
        await pair.statuses(*[b"another past %d" % n + bytes(1_000) for n in range(30)])
        await asyncio.sleep(6)
        common = min(end_of(pair.master), end_of(pair.slave))
        assert common > end, "the slave took bytes that do not continue its own"
        assert log_of(pair.slave)[:common] != log_of(pair.master)[:common]

    play(story)


def test_bytes_that_are_no_record_end_the_following_for_good_and_say_why() -> None:
    async def story(pair: Pair) -> None:
        await pair.start(MASTER)
        liar = pair.sim.node("liar")

        class Master(asyncio.Protocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                assert isinstance(transport, asyncio.Transport)
                self.transport = transport

            def data_received(self, data: bytes) -> None:
                self.transport.write(encode_push(0, b"these are not the bytes of a record"))

        await pair.sim.on(liar, liar.listen(10912, Master))
        await pair.open(SLAVE, haMasterAddress=f"{liar.address}:10912")
        await asyncio.sleep(30)
        (said,) = pair.events("not following")
        assert "a record must begin" in said and "remove its store" in said
        assert pair.slave.part(Follower).has_diverged

    play(story)


def test_a_master_that_comes_back_empty_leaves_its_slave_as_it_is() -> None:
    async def story(pair: Pair) -> None:
        await following(pair)
        await pair.statuses(*[b"%d" % n for n in range(30)])
        pair.sim.destroy_disk(MASTER)
        await asyncio.sleep(1)
        pair.sim.restart(MASTER)
        await pair.open(MASTER)
        await asyncio.sleep(30)
        assert bodies_of(pair.slave) == [b"%d" % n for n in range(30)]
        assert pair.events("slave refused")

    play(story)


def test_a_slave_that_is_made_a_master_is_followed_by_the_other_slave() -> None:
    """Nobody here decides that it should be; when somebody does (chapter 11), the floors go along."""

    async def story(pair: Pair) -> None:
        await following(pair)
        third = await pair.open("LGA-third", brokerId="2")
        await pair.statuses(*[b"%d" % n for n in range(10)])
        await pair.until(lambda: end_of(third) == end_of(pair.slave) == end_of(pair.master))
        pair.sim.kill(MASTER)
        await pair.sim.on(SLAVE, pair.slave.become(Role.SYNC_MASTER, 0))
        await asyncio.sleep(65)
        assert not pair.slave.part(Follower).is_connected
        assert await pair.statuses(b"goes on") == ["SEND_OK"]
        assert bodies_of(third) == [*[b"%d" % n for n in range(10)], b"goes on"]
        assert log_of(third) == log_of(pair.slave)

    play(story)


def test_a_slave_that_is_made_a_master_lets_go_of_a_master_that_lives() -> None:
    async def story(pair: Pair) -> None:
        await following(pair)
        await asyncio.sleep(11)
        await pair.sim.on(SLAVE, pair.slave.become(Role.ASYNC_MASTER, 0))
        groups = pair.slave.part(SubscriptionGroupManager)
        groups.put(SubscriptionGroupConfig("mine", retry_max_times=2))
        end = end_of(pair.slave)
        store, host = pair.master.part(MessageStore), encode_host("10.0.0.1:1")
        message = InnerMessage("flights", 0, b"not for him", {}, "", 0, host, host)
        await pair.sim.on(MASTER, store.put_and_wait(message))
        await asyncio.sleep(15)
        assert not pair.slave.part(Follower).is_connected and end_of(pair.slave) == end
        pair.master.part(SubscriptionGroupManager).put(SubscriptionGroupConfig("mine", retry_max_times=9))
        await asyncio.sleep(15)
        mine = groups.find("mine")
        assert mine is not None and mine.retry_max_times == 2, "a master copies nobody's tables"

    play(story)


def test_one_seed_gives_one_journal() -> None:
    async def story(pair: Pair) -> str:
        await following(pair)
        await pair.statuses(*[b"%d" % n for n in range(30)])
        await pair.again(SLAVE, "power", 1)
        await pair.equal()
        return pair.sim.digest()

    assert play(story, seed=9) == play(story, seed=9) != play(story, seed=10)
