"""The producer's other ways to send, what it packs and refuses, and how it chooses among sick brokers."""

import asyncio
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mq.commitlog.client import Producer, SendResult, SendStatus, TooManySends, view_message
from mq.commitlog.compressed import PACKED_WITH_ZLIB, pack_body, unpack_bodies
from mq.commitlog.latency import FAILED_COUNTS_AS_MS, LatencyTable, avoid_for_ms
from mq.commitlog.message import PROPERTY_UNIQ_KEY, Message, MessageIllegal
from mq.commitlog.record import MessageExt
from mq.routing.broker import Broker
from mq.routing.route import MessageQueue
from mq.routing.topics import TopicConfig
from mq.runtime.errors import MQError
from mq.sim.simulation import Simulation
from mq.wire.codes import RequestCode
from mq.wire.command import RemotingCommand
from mq.wire.errors import RemoteError, RequestTimeout, Unreachable
from tests.test_send_wire import World, note_all, refuse_all

LONG = b"HA51 left 1,301 minutes late. " * 200  # 6,000 bytes
JFK_0 = MessageQueue("flights", "JFK", 0)


def only_record(world: World, name: str) -> MessageExt:
    """The one message in a broker's log, as its bytes say."""
    (message,) = world.stored(name)
    return message


def answer_late(broker: Broker, delay_s: float) -> None:
    """From now on the broker stores each send, and says so this much later."""
    processors = broker.server.processors
    store = processors[RequestCode.SEND_MESSAGE_V2]

    async def late(request: Any) -> None:
        await asyncio.sleep(delay_s)
        store(request)

    processors[RequestCode.SEND_MESSAGE_V2] = late


def headers_seen(broker: Broker) -> list[dict[str, str]]:
    """The header of each send that the broker will be asked for."""
    seen: list[dict[str, str]] = []

    def note(request: Any) -> None:
        seen.append(dict(request.ext_fields))

    broker.server.registry.reject.setdefault(RequestCode.SEND_MESSAGE_V2, []).insert(0, note)
    return seen


# ---------------------------------------------------------------- compression


@pytest.mark.parametrize(("size", "is_packed"), [(4095, False), (4096, True), (100_000, True)])
def test_a_body_of_4096_bytes_or_more_travels_and_is_stored_packed(size: int, is_packed: bool) -> None:
    with Simulation() as sim:
        world = World(sim)
        message = Message("flights", (LONG * 20)[:size])
        world.send(message, JFK_0)
        stored = only_record(world, "JFK")
        assert stored.sys_flag == (0x301 if is_packed else 0), "packed, and with zlib: what 4.9.8 sets"
        plain = zlib.decompress(stored.body) if is_packed else stored.body
        assert plain == message.body == (LONG * 20)[:size], "the caller's message is what it was"
        if is_packed:
            assert stored.body == zlib.compress(plain, 5)
            assert len(stored.body) < size
        assert unpack_bodies([stored])[0].body == plain


def test_a_body_that_does_not_shrink_is_packed_all_the_same() -> None:
    with Simulation() as sim:
        world = World(sim)
        noise = sim.node("client").random.randbytes(5000)
        world.send(Message("flights", noise), JFK_0)
        stored = only_record(world, "JFK")
        assert len(stored.body) > 5000 and zlib.decompress(stored.body) == noise


def test_the_limit_and_the_level_can_be_set() -> None:
    with Simulation() as sim:
        world = World(sim)
        world.producer.compress_over_bytes, world.producer.compress_level = 100, 9
        world.send(Message("flights", LONG[:100]), JFK_0)
        assert only_record(world, "JFK").body == zlib.compress(LONG[:100], 9)


def test_a_batch_is_not_packed() -> None:
    with Simulation() as sim:
        world = World(sim)
        batch = [Message("flights", LONG), Message("flights", LONG)]
        sim.run(sim.on("client", world.producer.send_batch(batch, JFK_0)))
        assert [(message.sys_flag, message.body) for message in world.stored("JFK")] == [(0, LONG)] * 2


@given(st.binary(max_size=9000), st.integers(1, 9))
def test_whatever_is_packed_comes_back(body: bytes, level: int) -> None:
    class Packed:
        sys_flag = PACKED_WITH_ZLIB

        def __init__(self) -> None:
            self.body = pack_body(body, level)

    packed: Any = Packed()
    assert unpack_bodies([packed])[0].body == body


# ---------------------------------------------------------------- what does not leave the client

REFUSED: list[tuple[str, Message, int, str]] = [
    ("no body", Message("flights", b""), 13, "the body is empty"),
    ("too large a body", Message("flights", bytes((4 << 20) + 1)), 13, "a body of 4194305 bytes; at most 41"),
    ("a blank topic", Message(" ", b"x"), 1, "cannot be blank"),
    ("a slash in the topic", Message("a/b", b"x"), 1, "only letters, digits"),
    ("a long topic", Message("t" * 128, b"x"), 1, "has 128 characters"),
    ("a topic of the broker's own", Message("SCHEDULE_TOPIC_XXXX", b"x"), 16, "is forbidden"),
]  # fmt: skip


@pytest.mark.parametrize(("what", "message", "code", "remark"), REFUSED, ids=[row[0] for row in REFUSED])
def test_what_every_broker_would_refuse_is_refused_before_anything_is_sent(
    what: str, message: Message, code: int, remark: str
) -> None:
    with Simulation() as sim:
        world = World(sim)
        asked: list[str] = []
        for broker in world.brokers.values():
            broker.server.registry.reject.setdefault(RequestCode.SEND_MESSAGE_V2, [])
            note_all(broker, asked)
        for send in (world.producer.send, world.producer.send_oneway):
            with pytest.raises(MQError, match=remark) as failure:
                sim.run(sim.on("client", send(message)))
            assert failure.value.response_code == code
        with pytest.raises(MQError, match=remark):
            world.producer.send_soon(message)
        with pytest.raises(MQError, match=remark):
            sim.run(sim.on("client", world.producer.send_batch([message])))
        assert (asked, world.producer.in_flight) == ([], 0)
        assert PROPERTY_UNIQ_KEY not in message.properties, "a message that is refused is not touched"


def test_the_largest_body_that_may_be_sent_arrives() -> None:
    with Simulation() as sim:
        world = World(sim)
        world.producer.compress_over_bytes = 1 << 30
        world.send(Message("flights", bytes(4 << 20)), JFK_0)
        assert len(only_record(world, "JFK").body) == 4 << 20


def message(body: bytes = b"x", topic: str = "flights", **properties: str) -> Message:
    return Message(topic, body, properties=properties)


BATCHES: list[tuple[str, list[Message], str]] = [
    ("nothing", [], "at least one message"),
    ("two topics", [message(), message(topic="gates")], "all of one topic"),
    ("a retry topic", [message(topic="%RETRY%group")], "cannot be sent to a retry topic"),
    ("one that waits, one not", [message(WAIT="true"), message(WAIT="false")], "all wait for the store"),
    ("one that says nothing, one not", [message(), message(WAIT="false")], "all wait for the store"),
    ("a delay", [message(), message(DELAY="3")], "cannot be delayed"),
    ("together too large", [message(bytes(2 << 20))] * 2, "a body of 4194452 bytes; at most"),
]  # fmt: skip


@pytest.mark.parametrize(("what", "messages", "remark"), BATCHES, ids=[row[0] for row in BATCHES])
def test_messages_that_cannot_be_stored_as_one_are_no_batch(
    what: str, messages: list[Message], remark: str
) -> None:
    with Simulation() as sim:
        world = World(sim)
        with pytest.raises(MessageIllegal, match=remark):
            sim.run(sim.on("client", world.producer.send_batch(messages)))
        assert [world.stored(name) for name in world.brokers] == [[], [], []]


def test_a_batch_that_does_not_want_to_wait_is_not_kept_waiting() -> None:
    with Simulation() as sim:
        world = World(sim)
        batch = [message(b"1", WAIT="false"), message(b"2", WAIT="false", DELAY="0")]
        sim.run(sim.on("client", world.producer.send_batch(batch, JFK_0)))
        assert [stored.properties["WAIT"] for stored in world.stored("JFK")] == ["false", "false"]


# ---------------------------------------------------------------- one-way


def test_a_one_way_send_arrives_and_nobody_answers() -> None:
    with Simulation() as sim:
        world = World(sim)
        seen = headers_seen(world.brokers["JFK"])
        began = sim.loop.time()
        assert sim.run(sim.on("client", world.producer.send_oneway(message(LONG), JFK_0))) is None
        assert sim.loop.time() - began < 0.01, "it did not wait for the broker"
        sim.run(asyncio.sleep(1))
        assert zlib.decompress(only_record(world, "JFK").body) == LONG and len(seen) == 1


def test_a_one_way_send_to_a_broker_that_refuses_is_not_told_so() -> None:
    with Simulation() as sim:
        world = World(sim)
        refuse_all(world.brokers["JFK"], 14)
        sim.run(sim.on("client", world.producer.send_oneway(message(), JFK_0)))
        sim.run(asyncio.sleep(5))
        assert world.stored("JFK") == [] and sim.failures == []


def test_a_one_way_send_goes_round_all_queues_and_says_when_nobody_is_reached() -> None:
    with Simulation() as sim:
        world = World(sim)
        for _ in range(6):
            sim.run(sim.on("client", world.producer.send_oneway(message())))
        sim.run(asyncio.sleep(1))
        assert [len(world.stored(name)) for name in world.brokers] == [2, 2, 2]
        for name in world.brokers:
            sim.kill(name)
        sim.run(asyncio.sleep(1))
        with pytest.raises(Unreachable):
            sim.run(sim.on("client", world.producer.send_oneway(message())), timeout_s=60)


# ---------------------------------------------------------------- asynchronous


def test_sends_that_nobody_waits_for_are_on_their_way_together_and_each_has_its_end() -> None:
    with Simulation() as sim:
        world = World(sim)
        told: list[str] = []

        async def story() -> list[SendResult]:
            tasks = [world.producer.send_soon(message(b"%d" % number), JFK_0) for number in range(100)]
            assert world.producer.in_flight == 100
            tasks[0].add_done_callback(lambda task: told.append(task.result().offset_msg_id))
            return await asyncio.gather(*tasks)

        began = sim.loop.time()
        results: list[SendResult] = sim.run(sim.on("client", story()))
        assert sim.loop.time() - began < 0.02, "one round trip, not a hundred"
        assert [result.queue_offset for result in results] == list(range(100))
        assert [stored.body for stored in world.stored("JFK")] == [b"%d" % number for number in range(100)]
        assert told == [results[0].offset_msg_id] and world.producer.in_flight == 0


def test_no_more_than_a_named_number_are_on_their_way() -> None:
    with Simulation() as sim:
        world = World(sim)
        assert world.producer.max_in_flight == 65_535, "RocketMQ's clientAsyncSemaphoreValue"
        world.producer.max_in_flight = 3

        async def story() -> None:
            tasks = [world.producer.send_soon(message()) for _ in range(3)]
            with pytest.raises(TooManySends, match="3 messages wait"):
                world.producer.send_soon(message())
            await tasks[0]
            await asyncio.gather(world.producer.send_soon(message()), *tasks)

        sim.run(sim.on("client", story()))
        assert sum(len(world.stored(name)) for name in world.brokers) == 4


def test_a_refusal_ends_a_send_that_nobody_waits_for_and_silence_does_not() -> None:
    """RocketMQ retries an asynchronous send when there was no answer, and takes any answer for the end."""
    with Simulation() as sim:
        world = World(sim)
        refuse_all(world.brokers["JFK"], 14)
        world.producer._turn = 1  # the next queue in turn is the third: JFK's first

        async def refused() -> None:
            with pytest.raises(RemoteError, match="SERVICE_NOT_AVAILABLE"):
                await world.producer.send_soon(message())

        sim.run(sim.on("client", refused()))
        sim.kill("JFK")
        sim.run(asyncio.sleep(0.1))
        world.producer._turn = 1

        async def retried() -> SendResult:
            return await world.producer.send_soon(message())

        assert sim.run(sim.on("client", retried())).queue.broker_name == "LGA"


def test_all_tries_of_an_asynchronous_send_share_three_seconds() -> None:
    with Simulation() as sim:
        world = World(sim)
        world.send(message())
        for broker in world.brokers.values():
            answer_late(broker, 60)

        async def story() -> None:
            with pytest.raises(RequestTimeout):
                await world.producer.send_soon(message())

        began = sim.loop.time()
        sim.run(sim.on("client", story()), timeout_s=60)
        assert 2.9 < sim.loop.time() - began <= 3.001
        assert world.producer.in_flight == 0


# ---------------------------------------------------------------- retries


def test_the_codes_after_which_another_broker_is_tried_are_those_of_498_and_can_be_changed() -> None:
    with Simulation() as sim:
        world = World(sim)
        assert world.producer.retry_codes == {17, 14, 1, 16, 204, 205}
        refuse_all(world.brokers["JFK"], 2)
        world.producer._turn = 1
        with pytest.raises(RemoteError, match="SYSTEM_BUSY"):
            world.send(message())
        world.producer.retry_codes.add(2)
        world.producer._turn = 1
        assert world.send(message()).queue.broker_name == "LGA"


@pytest.mark.parametrize(("times", "asked_for"), [(0, 1), (1, 2), (2, 3), (5, 6)])
def test_so_many_retries_are_made_as_are_set(times: int, asked_for: int) -> None:
    with Simulation() as sim:
        world = World(sim)
        asked: list[str] = []
        for broker in world.brokers.values():
            refuse_all(broker, 14)
            note_all(broker, asked)
        world.producer.retry_times = times
        with pytest.raises(RemoteError):
            world.send(message())
        assert len(asked) == asked_for


@pytest.mark.parametrize("wanted", [False, True])
def test_a_message_that_is_stored_and_not_safe_is_sent_again_only_if_that_is_wanted(wanted: bool) -> None:
    """FLUSH_DISK_TIMEOUT is an answer, not a failure: the message may be there twice afterwards."""
    with Simulation() as sim:
        world = World(sim)
        world.producer.retry_not_stored = wanted

        def timed_out(request: Any) -> RemotingCommand:
            fields = {"msgId": "00" * 16, "queueId": "0", "queueOffset": "0"}
            return RemotingCommand(10, fields, remark="FLUSH_DISK_TIMEOUT")

        for name in ("JFK", "LGA"):
            world.brokers[name].server.reject(RequestCode.SEND_MESSAGE_V2, timed_out)
        world.producer._turn = 1
        result = world.send(message())
        if wanted:
            assert (result.status, result.queue.broker_name) == (SendStatus.SEND_OK, "EWR")
        else:
            assert (result.status, result.queue.broker_name) == (SendStatus.FLUSH_DISK_TIMEOUT, "JFK")
        world.brokers["EWR"].server.reject(RequestCode.SEND_MESSAGE_V2, timed_out)
        assert world.send(message()).status is SendStatus.FLUSH_DISK_TIMEOUT, "better than an error"


# ---------------------------------------------------------------- what the broker is told beside the message


def test_the_first_half_of_a_transaction_and_a_message_that_comes_again_say_so_in_the_header() -> None:
    with Simulation() as sim:
        world = World(sim)
        seen = headers_seen(world.brokers["JFK"])
        with pytest.raises(RemoteError, match="transaction message is forbidden"):
            world.send(message(TRAN_MSG="true"), JFK_0)
        again = message(topic="%RETRY%gates", RECONSUME_TIME="3", MAX_RECONSUME_TIMES="16", KEYS="k")
        world.brokers["JFK"].topics.put(TopicConfig("%RETRY%gates", 1, 1))
        sim.run(asyncio.sleep(1))
        world.send(again, MessageQueue("%RETRY%gates", "JFK", 0))
        half, retried = seen
        assert (half["f"], half["j"], half.get("l")) == ("4", "0", None)
        assert (retried["f"], retried["j"], retried["l"]) == ("0", "3", "16")
        assert "RECONSUME" not in seen[1]["i"] and "KEYS\x01k" in seen[1]["i"]
        assert again.properties["RECONSUME_TIME"] == "3", "the caller's message is what it was"


# ---------------------------------------------------------------- a message by its id


def test_a_message_is_found_by_its_offset_id_wherever_it_lies_and_unpacked() -> None:
    with Simulation() as sim:
        world = World(sim)
        for body in (b"short", LONG):
            result = world.send(message(body))
            found = sim.run(sim.on("client", view_message(world.instance, result.offset_msg_id)))
            assert (found.body, found.msg_id) == (body, result.offset_msg_id)


def test_an_id_that_leads_nowhere_is_one_sentence() -> None:
    with Simulation() as sim:
        world = World(sim)
        gone = world.send(message()).offset_msg_id[:-1] + "7"
        for wrong, sentence in (("HA51", "is not an offset"), (gone, "can not find message"),
                                ("0A0000630000296C" + "0" * 16, "cannot connect")):  # fmt: skip
            with pytest.raises(MQError, match=sentence):
                sim.run(sim.on("client", view_message(world.instance, wrong)), timeout_s=60)


# ---------------------------------------------------------------- sick brokers, remembered


@pytest.mark.parametrize(
    ("latency_ms", "avoided_ms"),
    [
        (0, 0), (49, 0), (50, 0), (100, 0), (549, 0), (550, 30_000), (999, 30_000), (1_000, 60_000),
        (2_000, 120_000), (2_999, 120_000), (3_000, 180_000), (14_999, 180_000), (15_000, 600_000),
        (FAILED_COUNTS_AS_MS, 600_000),
    ],
)  # fmt: skip
def test_the_slower_an_answer_the_longer_its_broker_is_avoided(latency_ms: float, avoided_ms: int) -> None:
    table = LatencyTable()
    assert table.is_available("JFK", 0.0), "nothing is known against it"
    table.note("JFK", latency_ms, False, now_ms=1_000)
    assert avoid_for_ms(latency_ms) == avoided_ms
    assert table.is_available("JFK", 1_000) == (avoided_ms == 0)
    assert not table.is_available("JFK", 999.0 + avoided_ms)
    assert table.is_available("JFK", 1_000 + avoided_ms)


def test_a_failure_is_the_longest_time_whatever_it_took_and_a_good_answer_clears_it() -> None:
    table = LatencyTable()
    table.note("JFK", 3, True, now_ms=0)
    assert not table.is_available("JFK", 599_999) and table.is_available("JFK", 600_000)
    table.note("JFK", 3, False, now_ms=10)
    assert table.is_available("JFK", 10)


def test_when_all_are_avoided_the_better_half_takes_turns() -> None:
    table = LatencyTable()
    assert table.least_bad(0) is None
    table.note("JFK", 3_000, False, 0)
    assert [table.least_bad(0) for _ in range(3)] == ["JFK"] * 3
    for name, latency_ms in (("LGA", 700), ("EWR", 20_000), ("BOS", 600)):
        table.note(name, latency_ms, False, 0)
    assert {table.least_bad(0) for _ in range(4)} == {"BOS", "LGA"}
    table.note("EWR", 40, False, 0)  # the only one that is available
    assert {table.least_bad(0) for _ in range(4)} == {"EWR", "BOS"}
    table.forget("EWR")
    assert {table.least_bad(0) for _ in range(4)} == {"BOS"}


def brokers_of(world: World, sends: int) -> list[str]:
    """The broker that each of so many sends ended on."""
    return [world.send(message()).queue.broker_name for _ in range(sends)]


def test_without_that_rule_a_slow_broker_gets_its_share_again_and_again() -> None:
    with Simulation() as sim:
        world = World(sim)
        assert not world.producer.avoid_slow_brokers, "off by default, as sendLatencyFaultEnable is"
        answer_late(world.brokers["JFK"], 0.6)
        assert brokers_of(world, 12).count("JFK") == 4
        assert world.producer.latencies.items == {}


def test_a_slow_broker_is_avoided_for_half_a_minute() -> None:
    with Simulation() as sim:
        world = World(sim)
        world.producer.avoid_slow_brokers = True
        answer_late(world.brokers["JFK"], 0.6)
        world.producer._turn = 1
        assert brokers_of(world, 1) == ["JFK"]
        assert set(brokers_of(world, 30)) == {"LGA", "EWR"}
        sim.run(asyncio.sleep(29))
        assert set(brokers_of(world, 30)) == {"LGA", "EWR"}
        sim.run(asyncio.sleep(1))
        assert "JFK" in brokers_of(world, 6)


def test_a_broker_that_failed_is_avoided_for_ten_minutes() -> None:
    with Simulation() as sim:
        world = World(sim)
        world.producer.avoid_slow_brokers = True
        refuse_all(world.brokers["JFK"], 14)
        asked: list[str] = []
        note_all(world.brokers["JFK"], asked)
        for _ in range(20):
            assert "JFK" not in brokers_of(world, 6)
            sim.run(asyncio.sleep(29))
        assert len(asked) == 1, "580 s, and it was asked once"
        sim.run(asyncio.sleep(30))
        brokers_of(world, 6)
        assert len(asked) == 2


def test_a_producer_whose_brokers_are_all_sick_still_tries() -> None:
    with Simulation() as sim:
        world = World(sim)
        world.producer.avoid_slow_brokers = True
        for broker in world.brokers.values():
            refuse_all(broker, 14)
        asked: list[str] = []
        for broker in world.brokers.values():
            note_all(broker, asked)
        for _ in range(4):
            with pytest.raises(RemoteError):
                world.send(message())
        assert len(asked) == 12, "three tries each"


def test_a_broker_that_is_known_only_as_sick_is_forgotten_when_it_has_no_queue() -> None:
    with Simulation() as sim:
        producer = Producer(World(sim).instance, "PG")
        producer.avoid_slow_brokers = True
        now_ms = sim.loop.time() * 1000
        for name in ("gone", "EWR", "JFK", "LGA"):
            producer.latencies.note(name, 10 if name == "gone" else 20, True, now_ms)
        queues = [MessageQueue("flights", name, 0) for name in ("EWR", "JFK", "LGA")]
        chosen = [producer._next_queue(queues, "") for _ in range(4)]
        assert set(chosen) <= set(queues) and "gone" not in producer.latencies.items


def test_a_given_queue_says_nothing_about_its_broker() -> None:
    with Simulation() as sim:
        world = World(sim)
        world.producer.avoid_slow_brokers = True
        refuse_all(world.brokers["JFK"], 14)
        with pytest.raises(RemoteError):
            world.send(message(), JFK_0)
        assert world.producer.latencies.items == {}
