"""What a slave answers, and where clients go when their master is slow, dies and comes back."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest

from chapters.ch04_replication.pair import DESK, MASTER, SLAVE, TOPIC, Pair, bodies_of, refused
from mq.clients.groups import SubscriptionGroupConfig, SubscriptionGroupManager
from mq.commitlog.client import Producer
from mq.commitlog.hosts import encode_host
from mq.commitlog.message import Message
from mq.commitlog.put import InnerMessage, PutStatus
from mq.commitlog.store import MessageStore
from mq.consumequeue.client import PullConsumer, PullOutcome, PullStatus
from mq.consumequeue.offsets import ConsumerOffsetManager
from mq.routing.broker import Broker
from mq.routing.client import create_topic
from mq.routing.route import MessageQueue
from mq.routing.topics import TopicConfig
from mq.runtime.config import ConfigManager
from mq.runtime.errors import MQError
from mq.sim.simulation import Simulation
from mq.system import build_broker
from mq.wire.codes import RequestCode, ResponseCode
from mq.wire.command import RemotingCommand

T = TypeVar("T")
QUEUE = MessageQueue(TOPIC, MASTER, 0)
READABLE = {"slaveReadEnable": "true"}


def play(story: Callable[[Pair], Awaitable[T]], **settings: str) -> T:
    """Run a story with a pair that follows already."""
    with Simulation(3) as sim:
        pair = Pair(sim, "SYNC_MASTER", settings)

        async def main() -> T:
            await pair.start()
            await pair.until(pair.is_following)
            return await story(pair)

        result = sim.run(main, timeout_s=900)
        assert not sim.failures, sim.failures
        return result


async def consumer_of(pair: Pair) -> PullConsumer:
    """A consumer with its route."""
    consumer = PullConsumer(await pair.desk(), "gate")
    await pair.sim.on(DESK, consumer.fetch_queues(TOPIC))
    return consumer


async def ask(pair: Pair, broker: Broker, command: RemotingCommand) -> RemotingCommand:
    """What a broker answers to the desk."""
    return await pair.sim.on(DESK, (await pair.desk()).rpc.invoke(broker.address, command, 3_000))


# ---------------------------------------------------------------- sends


def test_a_slave_refuses_sends_with_14_and_makes_no_topic_for_them() -> None:
    async def story(pair: Pair) -> None:
        await pair.send(b"so that the route is known")
        instance = await pair.desk()
        master, slave = pair.master.address, pair.slave.address
        instance.routes.broker_address = lambda *_: slave  # type: ignore[method-assign]
        for topic in (TOPIC, "nobody-made-it"):
            producer = Producer(instance, "desk")
            queue = MessageQueue(topic, MASTER, 0)
            with pytest.raises(MQError) as caught:
                await pair.sim.on(DESK, producer.send(Message(topic, b"x"), queue))
            assert caught.value.response_code == ResponseCode.SERVICE_NOT_AVAILABLE
            assert f"a slave of {MASTER}" in caught.value.remark
            with pytest.raises(MQError, match="takes no messages itself"):
                await pair.sim.on(DESK, producer.send_batch([Message(topic, b"x")], queue))
        assert pair.slave.topics.find("nobody-made-it") is None
        assert len(bodies_of(pair.slave)) == 1 and master != slave

    play(story)


@pytest.mark.parametrize("code", [10, 310, 320])
def test_every_request_code_of_a_send_is_refused_before_anything_of_it_is_read(code: int) -> None:
    async def story(pair: Pair) -> None:
        answer = await ask(pair, pair.slave, RemotingCommand(code, {}))
        assert answer.code == ResponseCode.SERVICE_NOT_AVAILABLE
        assert answer.remark is not None and f"a slave of {MASTER}" in answer.remark
        assert (await ask(pair, pair.master, RemotingCommand(code, {}))).code == ResponseCode.SYSTEM_ERROR

    play(story)


def test_a_slave_stores_nothing_of_its_own_either() -> None:
    async def story(pair: Pair) -> None:
        store, host = pair.slave.part(MessageStore), encode_host("10.0.0.1:1")
        message = InnerMessage(TOPIC, 0, b"x", {}, "", 0, host, host)
        result = await pair.sim.on(SLAVE, store.put_and_wait(message))
        assert result.status is PutStatus.SERVICE_NOT_AVAILABLE
        assert bodies_of(pair.slave) == []

    play(story)


# ---------------------------------------------------------------- tables


def test_tables_are_ten_seconds_old_at_most() -> None:
    """Topics, groups and offsets; the first time after three seconds."""

    async def story(pair: Pair) -> None:
        await asyncio.sleep(4)
        assert pair.slave.topics.find(TOPIC) == pair.master.topics.find(TOPIC)
        await pair.sim.on(
            DESK, create_topic(await pair.desk(), pair.master.address, TopicConfig("new", 3, 3))
        )
        pair.master.part(ConsumerOffsetManager).commit("gate", TOPIC, 0, 7)
        pair.master.part(SubscriptionGroupManager).put(SubscriptionGroupConfig("late", retry_max_times=3))
        assert pair.slave.topics.find("new") is None
        await asyncio.sleep(10)
        assert pair.slave.topics.find("new") == TopicConfig("new", 3, 3)
        assert pair.slave.topics.data_version == pair.master.topics.data_version
        assert pair.slave.part(ConsumerOffsetManager).query("gate", TOPIC, 0) == 7
        group = pair.slave.part(SubscriptionGroupManager).find("late")
        assert group is not None and group.retry_max_times == 3
        await asyncio.sleep(1)
        await pair.again(SLAVE, "power")
        assert pair.slave.part(ConsumerOffsetManager).query("gate", TOPIC, 0) == 7, "and it is on disk"
        assert pair.slave.part(SubscriptionGroupManager).table["late"].retry_max_times == 3

    play(story)


def test_every_table_with_a_code_is_shown_and_copied_also_one_of_a_later_floor() -> None:
    class Delays(ConfigManager):
        path, sync_code = "config/delayOffset.json", int(RequestCode.GET_ALL_DELAY_OFFSET)
        table: dict[str, int]

        def encode(self) -> str:
            return json.dumps({"offsetTable": self.table}, indent=1)

        def decode(self, text: str) -> None:
            self.table = json.loads(text)["offsetTable"]

    with Simulation(5) as sim:
        pair = Pair(sim)

        async def story() -> None:
            for name, table in ((MASTER, {"3": 9}), (SLAVE, {})):
                broker = await pair_with_delays(pair, name, table)
                assert broker.configs[-1].path == Delays.path
            await asyncio.sleep(5)
            assert pair.slave.configs[-1].table == {"3": 9}  # type: ignore[attr-defined]
            command = RemotingCommand(RequestCode.GET_ALL_DELAY_OFFSET)
            assert (await ask(pair, pair.master, command)).body == b'{"offsetTable":{"3":9}}'
            offsets = await ask(pair, pair.master, RemotingCommand(RequestCode.GET_ALL_CONSUMER_OFFSET))
            assert offsets.body == b'{"offsetTable":{}}'

        async def pair_with_delays(pair: Pair, name: str, table: dict[str, int]) -> Broker:
            if pair.names is None:
                await pair.start(MASTER)
                await pair.stop(MASTER)
                sim.kill(MASTER)
                sim.restart(MASTER)
            node = sim.node(name)
            assert pair.names is not None
            role = ("SYNC_MASTER", "0") if name == MASTER else ("SLAVE", "1")
            told = {"brokerName": MASTER, "namesrvAddr": pair.names.address, **pair.settings}
            broker = build_broker(node, {**told, "brokerRole": role[0], "brokerId": role[1]}, 4)
            delays = Delays(node)
            delays.table = table
            broker.configs.append(delays)
            pair.brokers[name] = broker
            await sim.on(name, broker.start())
            return broker

        sim.run(story, timeout_s=60)


def test_the_topics_are_also_shown_two_ports_below_where_a_slave_of_4_9_8_asks_for_them() -> None:
    async def story(pair: Pair) -> None:
        host, _, port = pair.master.address.rpartition(":")
        rpc, command = (await pair.desk()).rpc, RemotingCommand(RequestCode.GET_ALL_TOPIC_CONFIG)
        told = await pair.sim.on(DESK, rpc.invoke(f"{host}:{int(port) - 2}", command, 3_000))
        assert TOPIC.encode() in told.body

    play(story)


def test_a_table_that_cannot_be_had_or_read_stays_as_it_is() -> None:
    async def story(pair: Pair) -> None:
        await asyncio.sleep(14)
        before = pair.slave.topics.encode()
        pair.master.server.processors[21] = lambda request: request.succeed({}, b'{"topicConfigTable":[1]}')
        pair.master.server.processors[201] = lambda request: request.succeed({}, b"no JSON")
        await asyncio.sleep(10)
        assert pair.slave.topics.encode() == before
        assert len(pair.events("table not copied")) == 2
        pair.sim.kill(MASTER)
        await asyncio.sleep(40)
        assert pair.slave.topics.encode() == before

    play(story)


# ---------------------------------------------------------------- pulls


def test_a_slave_serves_pulls_by_queue_key_and_time() -> None:
    async def story(pair: Pair) -> None:
        await pair.send(*[b"%d" % n for n in range(20)])
        await asyncio.sleep(11)
        consumer, slave = await consumer_of(pair), pair.slave.address
        consumer.instance.routes.find_broker_in_subscribe = lambda *_: slave  # type: ignore[method-assign]

        async def work() -> None:
            outcome = await consumer.pull(QUEUE, "*", 5, 3)
            assert [message.body for message in outcome.messages] == [b"5", b"6", b"7"]
            assert (await consumer.max_offset(QUEUE), await consumer.min_offset(QUEUE)) == (20, 0)
            assert await consumer.search_offset(QUEUE, outcome.messages[1].store_timestamp_ms) <= 6
            assert len(await consumer.query_message(TOPIC, "key")) == 20

        await pair.sim.on(DESK, work())

    play(story)


def test_a_slave_that_began_at_the_last_segment_serves_what_it_has_also_after_a_restart() -> None:
    """Its queues do not begin at 0, and their numbers are the master's."""

    async def story(pair: Pair) -> None:
        await pair.send(*[b"%d" % n for n in range(200)])
        pair.sim.destroy_disk(SLAVE)
        pair.sim.restart(SLAVE)
        await pair.open(SLAVE)
        await pair.equal()
        await asyncio.sleep(11)
        pair.sim.kill(MASTER)
        for _ in range(2):
            await asyncio.sleep(31)
            consumer = await consumer_of(pair)
            first = await pair.sim.on(DESK, consumer.min_offset(QUEUE))
            assert 0 < first < 200
            outcome = await pair.sim.on(DESK, consumer.pull(QUEUE, "*", first))
            assert outcome.messages[0].body == b"%d" % first
            await pair.again(SLAVE)

    play(story)


async def _lagging_reader(pair: Pair) -> list[int]:
    """Whom a consumer asks next, pull by pull, that begins far behind and catches up."""
    await pair.send(*[b"%d" % n + bytes(500) for n in range(120)])
    await asyncio.sleep(11)
    consumer, asked = await consumer_of(pair), list[int]()

    async def work() -> None:
        at = 0
        while (outcome := await consumer.pull(QUEUE, "*", at)).status is PullStatus.FOUND:
            at = outcome.next_begin_offset
            asked.append(consumer._suggested[QUEUE])
        assert at == 120

    await pair.sim.on(DESK, work())
    return asked


SMALL_MEMORY = {"physicalMemoryBytes": "50000"}  # 40 % of it: some 25 messages


def test_a_reader_that_lags_behind_the_memory_is_sent_to_the_slave_and_back_when_it_has_caught_up() -> None:
    asked = play(_lagging_reader, **SMALL_MEMORY, **READABLE)
    turn = asked.index(0)
    assert asked == [1] * turn + [0] * (len(asked) - turn), "sent to the slave, and once sent back"
    assert turn > 3


def test_a_group_may_name_the_slave_that_it_is_sent_to_and_the_broker_that_it_goes_back_to() -> None:
    async def story(pair: Pair) -> tuple[int, int]:
        await pair.send(*[b"%d" % n + bytes(500) for n in range(120)])
        group = SubscriptionGroupConfig("gate", broker_id=3, which_broker_when_consume_slowly=2)
        pair.master.part(SubscriptionGroupManager).put(group)
        consumer = await consumer_of(pair)
        await pair.sim.on(DESK, consumer.pull(QUEUE, "*", 0))
        behind = consumer._suggested.pop(QUEUE)
        await pair.sim.on(DESK, consumer.pull(QUEUE, "*", 118))
        return behind, consumer._suggested[QUEUE]

    assert play(story, **SMALL_MEMORY, **READABLE) == (2, 3)


def test_without_slave_read_enable_everybody_is_sent_to_the_master() -> None:
    assert set(play(_lagging_reader, **SMALL_MEMORY)) == {0}


async def _beyond_the_end(pair: Pair) -> PullOutcome:
    """A pull for message 9 at a slave that has three; its master may well have ten."""
    await pair.send(b"0", b"1", b"2")
    await asyncio.sleep(11)
    consumer, slave = await consumer_of(pair), pair.slave.address
    consumer.instance.routes.find_broker_in_subscribe = lambda *_: slave  # type: ignore[method-assign]
    return await pair.sim.on(DESK, consumer.pull(QUEUE, "*", 9))


def test_a_slave_never_moves_a_consumer() -> None:
    outcome = play(_beyond_the_end)
    assert (outcome.status, outcome.next_begin_offset) == (PullStatus.NO_MATCHED_MSG, 9)


def test_with_offset_check_in_slave_it_does() -> None:
    outcome = play(_beyond_the_end, offsetCheckInSlave="true")
    assert (outcome.status, outcome.next_begin_offset) == (PullStatus.OFFSET_ILLEGAL, 3)


def test_a_master_still_moves_a_consumer() -> None:
    async def story(pair: Pair) -> PullOutcome:
        await pair.send(b"0", b"1", b"2")
        consumer = await consumer_of(pair)
        return await pair.sim.on(DESK, consumer.pull(QUEUE, "*", 9))

    assert play(story).status is PullStatus.OFFSET_ILLEGAL


# ---------------------------------------------------------------- the master dies


@pytest.mark.parametrize("death", ["process", "power"])
def test_when_the_master_dies_the_slave_is_read_and_sends_fail_clearly(death: str) -> None:
    """I4.5. A process that dies is known at once; silence only after the NameServer's two minutes."""

    async def story(pair: Pair) -> None:
        bodies = [b"%d" % n for n in range(10)]
        await pair.send(*bodies)
        await asyncio.sleep(12)
        pair.sim.kill(MASTER, death)
        await asyncio.sleep(31 if death == "process" else 165)
        assert await pair.pull_all() == bodies
        assert "no broker with a master takes messages" in await refused(pair, b"nobody takes it")
        consumer = await consumer_of(pair)
        await pair.sim.on(DESK, consumer.update_offset(QUEUE, 4))
        assert await pair.sim.on(DESK, consumer.query_offset(QUEUE)) == 4
        await asyncio.sleep(60)
        assert pair.slave.role.name == "SLAVE", "nobody promotes it"

    play(story)


def test_a_topic_younger_than_the_last_copy_of_the_tables_cannot_be_read_from_the_slave() -> None:
    """The messages are there, and the table that says so is not: it is copied each ten seconds."""

    async def story(pair: Pair) -> None:
        instance = await pair.desk()
        await asyncio.sleep(4)
        await pair.sim.on(DESK, create_topic(instance, pair.master.address, TopicConfig("young", 1, 1)))
        producer, queue = Producer(instance, "desk"), MessageQueue("young", MASTER, 0)
        await pair.sim.on(DESK, producer.send(Message("young", b"acknowledged"), queue))
        pair.sim.kill(MASTER)
        await asyncio.sleep(40)
        assert bodies_of(pair.slave) == [b"acknowledged"]
        with pytest.raises(MQError, match="not exist"):
            await pair.sim.on(DESK, PullConsumer(instance, "gate").pull(queue, "*", 0))

    play(story)


def test_sends_without_a_wish_go_to_another_master() -> None:
    async def story(pair: Pair) -> None:
        other = build_broker(
            pair.sim.node("EWR"),
            {**pair.settings, "brokerName": "EWR", "namesrvAddr": pair.names.address if pair.names else ""},
            4,
        )
        other.topics.put(TopicConfig(TOPIC, 2, 2))
        await pair.sim.on("EWR", other.start())
        await pair.send(b"first")
        pair.sim.kill(MASTER)
        producer = Producer(await pair.desk(), "desk")

        async def work() -> set[str]:
            return {(await producer.send(Message(TOPIC, b"%d" % n))).queue.broker_name for n in range(8)}

        assert await pair.sim.on(DESK, work()) == {"EWR"}

    play(story)


def test_what_a_consumer_told_the_slave_is_forgotten_when_the_master_is_back() -> None:
    """The master's table comes in place of the slave's, older or not."""

    async def story(pair: Pair) -> None:
        await pair.send(*[b"%d" % n for n in range(10)])
        consumer = await consumer_of(pair)
        await pair.sim.on(DESK, consumer.update_offset(QUEUE, 2))
        await asyncio.sleep(15)
        pair.sim.kill(MASTER)
        await asyncio.sleep(31)
        await pair.sim.on(DESK, consumer.update_offset(QUEUE, 9))
        pair.sim.restart(MASTER)
        await pair.open(MASTER)
        await asyncio.sleep(45)
        assert pair.slave.part(ConsumerOffsetManager).query("gate", TOPIC, 0) == 2
        assert await pair.sim.on(DESK, consumer.query_offset(QUEUE)) == 2, "consumed again: nothing is lost"

    play(story)
