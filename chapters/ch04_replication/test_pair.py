"""A master and its slave in the simulator: what is copied, and who waits for it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest

from chapters.ch04_replication.pair import MASTER, SLAVE, Pair, bodies_of, end_of, log_of
from mq.commitlog.client import Producer
from mq.commitlog.message import Message
from mq.consumequeue.index import IndexService
from mq.consumequeue.store import QueueStore
from mq.replication.follower import Follower
from mq.replication.haservice import HAService
from mq.replication.protocol import encode_report
from mq.routing.route import MessageQueue
from mq.sim.simulation import Simulation

T = TypeVar("T")
POLICIES = ("ASYNC_FLUSH", "SYNC_FLUSH")


def play(
    story: Callable[[Pair], Awaitable[T]], role: str = "SYNC_MASTER", seed: int = 1, **settings: str
) -> T:
    """Run a story with a pair; nothing may have failed in the background."""
    with Simulation(seed) as sim:
        pair = Pair(sim, role, settings)

        async def main() -> T:
            return await story(pair)

        result = sim.run(main, timeout_s=900)
        assert not sim.failures, sim.failures
        return result


async def following(pair: Pair) -> None:
    await pair.start()
    await pair.until(pair.is_following)


def derived(pair: Pair, name: str) -> object:
    """Queues and index of a broker, as they can be asked for."""
    broker = pair.brokers[name]
    entries = {
        key: [queue.entry_at(number) for number in range(queue.min_queue_offset, queue.max_queue_offset)]
        for key, queue in broker.part(QueueStore).queues.items()
        if queue.max_queue_offset
    }
    return entries, broker.part(IndexService).query("flights", "key", 64, 0, 1 << 60).physical_offsets


# ---------------------------------------------------------------- the copy


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("role", ["ASYNC_MASTER", "SYNC_MASTER"])
def test_the_slaves_log_queues_and_index_are_the_masters(role: str, policy: str) -> None:
    """I4.1, over eleven segments."""

    async def story(pair: Pair) -> None:
        await following(pair)
        assert set(await pair.statuses(*[b"%d" % n + bytes(n * 3) for n in range(300)])) == {"SEND_OK"}
        await pair.equal(1)
        assert log_of(pair.slave) == log_of(pair.master)
        assert derived(pair, SLAVE) == derived(pair, MASTER)
        assert len(pair.slave.node.disk.list("commitlog")) > 10

    play(story, role, flushDiskType=policy)


def test_an_asynchronous_master_sends_at_once_and_not_when_somebody_asks() -> None:
    async def story(pair: Pair) -> None:
        await following(pair)
        await pair.statuses(b"now")
        assert await pair.equal(0.1) < 0.1, "the real one looks each 100 ms"

    play(story, "ASYNC_MASTER")


def test_a_master_that_wrote_gigabytes_before_its_slave_came_does_not_send_them_at_once() -> None:
    """What the slave has not taken in waits in the log, not in memory."""

    async def story(pair: Pair) -> None:
        await pair.start(MASTER)
        await pair.statuses(*[bytes(12_000)] * 60)
        pair.settings["haTransferBatchSize"] = "4096"
        await pair.open(SLAVE)
        written: list[int] = []
        pair.slow(50)
        await pair.until(lambda: bool(pair.master.part(HAService).slaves), 5)
        for _ in range(200):
            await asyncio.sleep(0.01)
            for slave in pair.master.part(HAService).slaves.values():
                assert slave._transport is not None
                written.append(slave._transport.get_write_buffer_size())
        assert max(written) < 128 << 10
        await pair.equal()

    play(story, mappedFileSizeCommitLog="1048576")


def test_a_slave_may_have_a_slave() -> None:
    async def story(pair: Pair) -> None:
        await following(pair)
        below = pair.slave.part(HAService).address
        third = await pair.open("LGA-third", brokerId="2", haMasterAddress=below)
        await pair.until(lambda: third.part(Follower).is_connected)
        await pair.statuses(*[b"%d" % n for n in range(50)])
        await pair.until(lambda: end_of(third) == end_of(pair.master), 1)
        assert log_of(third) == log_of(pair.master)
        assert len(pair.slave.part(HAService).slaves) == 1

    play(story)


@pytest.mark.parametrize("seed", range(6))
def test_resets_at_any_moment_leave_a_copy_that_is_byte_for_byte_equal(seed: int) -> None:
    async def story(pair: Pair) -> None:
        await following(pair)
        addresses = [pair.sim.node(name).address for name in (MASTER, SLAVE)]
        for number in range(20):
            after_ms = pair.sim.node(MASTER).random.random() * 300 + number * 100
            pair.sim.at(after_ms, lambda: pair.sim.network.reset_connections(*addresses))
        for number in range(60):
            await pair.statuses(b"%d" % number + bytes(200 * (number % 20)))
            await asyncio.sleep(0.03)
        await pair.equal()
        assert log_of(pair.slave) == log_of(pair.master)
        assert derived(pair, SLAVE) == derived(pair, MASTER)

    play(story, "ASYNC_MASTER", seed)


def test_a_connection_that_broke_is_made_again_at_once() -> None:
    async def story(pair: Pair) -> None:
        await following(pair)
        await pair.statuses(b"one")
        pair.sim.network.reset_connections(*[pair.sim.node(name).address for name in (MASTER, SLAVE)])
        await asyncio.sleep(0.1)
        assert await pair.statuses(b"two") == ["SEND_OK"]

    play(story)


# ---------------------------------------------------------------- who waits


@pytest.mark.parametrize("policy", POLICIES)
def test_what_a_synchronous_master_acknowledged_is_on_the_slave(policy: str) -> None:
    """I4.2: when the answer comes, the slave has the message, whoever dies then."""

    async def story(pair: Pair) -> None:
        await following(pair)
        for number in range(40):
            body = b"%d" % number
            assert await pair.statuses(body) == ["SEND_OK"]
            assert bodies_of(pair.slave)[-1] == body

    play(story, flushDiskType=policy)


def test_what_an_asynchronous_master_acknowledged_may_be_nowhere_else() -> None:
    async def story(pair: Pair) -> None:
        await following(pair)
        pair.cut()
        assert await pair.statuses(b"alone") == ["SEND_OK"]
        pair.sim.destroy_disk(MASTER)
        pair.heal()
        await asyncio.sleep(30)
        assert bodies_of(pair.slave) == []

    play(story, "ASYNC_MASTER")


def test_without_a_slave_a_synchronous_master_says_so_at_once_and_keeps_the_message() -> None:
    async def story(pair: Pair) -> None:
        await pair.start(MASTER)
        begun_s = pair.sim.loop.time()
        assert await pair.statuses(b"one", b"two") == ["SLAVE_NOT_AVAILABLE"] * 2
        assert pair.sim.loop.time() - begun_s < 0.1
        assert bodies_of(pair.master) == [b"one", b"two"]
        assert await pair.pull_all() == [b"one", b"two"], "not acknowledged is not undone"

    play(story)


def test_a_silent_slave_is_waited_for_three_seconds_and_only_until_housekeeping_finds_it() -> None:
    async def story(pair: Pair) -> None:
        await following(pair)
        pair.cut()
        begun_s = pair.sim.loop.time()
        assert await pair.statuses(b"one") == ["FLUSH_SLAVE_TIMEOUT"]
        assert 3 <= pair.sim.loop.time() - begun_s < 3.1
        await asyncio.sleep(17.5)
        begun_s = pair.sim.loop.time()
        assert await pair.statuses(b"two") == ["SLAVE_NOT_AVAILABLE"]
        assert pair.sim.loop.time() - begun_s < 0.1
        assert f"{SLAVE} master left: silent for 20 s" in pair.events("master left")
        pair.heal()
        await pair.equal()
        assert await pair.statuses(b"three") == ["SEND_OK"]
        assert bodies_of(pair.slave) == [b"one", b"two", b"three"]

    play(story)


def test_a_producer_with_rocketmqs_own_patience_never_hears_of_the_slaves_timeout() -> None:
    """Both wait for three seconds, and the producer began first."""

    async def story(pair: Pair) -> None:
        await following(pair)
        pair.patience_ms = 3_000
        pair.cut()
        assert await pair.statuses(b"one") == ["RequestTimeout"]

    play(story)


def test_who_does_not_want_to_wait_does_not() -> None:
    async def story(pair: Pair) -> None:
        await following(pair)
        pair.cut()
        begun_s = pair.sim.loop.time()
        assert await pair.statuses(b"one", wait=False) == ["SEND_OK"]
        assert pair.sim.loop.time() - begun_s < 0.1

    play(story, flushDiskType="SYNC_FLUSH")


def test_a_sender_that_waits_for_disk_and_slave_hears_of_the_slow_one() -> None:
    async def story(pair: Pair) -> None:
        await following(pair)
        pair.sim.node(MASTER).machine.platter.sync_ms = 80
        begun_s = pair.sim.loop.time()
        assert await pair.statuses(b"one") == ["SEND_OK"]
        assert pair.sim.loop.time() - begun_s > 0.08
        pair.cut()
        assert await pair.statuses(b"two") == ["FLUSH_SLAVE_TIMEOUT"], "the disk was done long ago"

    play(story, flushDiskType="SYNC_FLUSH")


def test_all_sends_of_one_read_wait_together_and_a_batch_waits_for_its_last_message() -> None:
    async def story(pair: Pair) -> None:
        await following(pair)
        pair.slow(20)
        producer = Producer(await pair.desk(), "desk")
        queue = MessageQueue("flights", MASTER, 0)
        begun_s = pair.sim.loop.time()

        async def work() -> None:
            sends = [producer.send(Message("flights", b"%d" % n), queue) for n in range(50)]
            batch = producer.send_batch([Message("flights", bytes(3_000)) for _ in range(12)], queue)
            results = await asyncio.gather(*sends, batch)
            assert {result.status.name for result in results} == {"SEND_OK"}
            assert pair.is_equal(), "the batch crosses segments, and all of it is there"

        await pair.sim.on("desk", work())
        assert pair.sim.loop.time() - begun_s < 0.3

    play(story, mappedFileSizeCommitLog="16384")


def test_a_slave_that_lags_too_far_is_not_waited_for() -> None:
    async def story(pair: Pair) -> None:
        await following(pair)
        pair.cut()
        assert await pair.statuses(bytes(3_000)) == ["FLUSH_SLAVE_TIMEOUT"]
        assert await pair.statuses(bytes(3_000)) == ["SLAVE_NOT_AVAILABLE"]

    play(story, haSlaveFallbehindMax="5000")


def test_who_waits_while_the_broker_stops_gets_an_answer() -> None:
    async def story(pair: Pair) -> None:
        await following(pair)
        pair.cut()
        sending = pair.sim.start(pair.statuses(b"one"), "send")
        await asyncio.sleep(0.5)
        await pair.stop(MASTER)
        await asyncio.sleep(0.01)
        assert sending.done() and sending.result()[0] != "SEND_OK"

    play(story)


def test_a_connection_that_says_nothing_is_no_slave() -> None:
    async def story(pair: Pair) -> None:
        await pair.start(MASTER)
        lurker = pair.sim.node("lurker")
        await pair.sim.on(lurker, lurker.connect(pair.master.part(HAService).address, asyncio.Protocol))
        assert await pair.statuses(b"one") == ["SLAVE_NOT_AVAILABLE"]
        await pair.open(SLAVE)
        await pair.until(pair.is_equal)
        pair.sim.kill(SLAVE)
        assert len(pair.master.part(HAService).slaves) > 0
        await asyncio.sleep(0.1)
        assert await pair.statuses(b"two") == ["SLAVE_NOT_AVAILABLE"]
        await asyncio.sleep(21)
        assert not pair.master.part(HAService).slaves, "and housekeeping ends it"

    play(story)


def test_whoever_claims_to_have_more_than_there_is_acknowledges_nothing() -> None:
    """I4.3: eight bytes from anybody must not stand for a copy."""

    async def story(pair: Pair) -> None:
        await pair.start(MASTER)
        liar = pair.sim.node("liar")

        class Liar(asyncio.Protocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                assert isinstance(transport, asyncio.Transport)
                transport.write(encode_report(1 << 40))

        await pair.sim.on(liar, liar.connect(pair.master.part(HAService).address, Liar))
        await asyncio.sleep(0.1)
        assert await pair.statuses(b"one") == ["SLAVE_NOT_AVAILABLE"]
        assert "it is ahead" in pair.events("slave refused")[0]

    play(story)
