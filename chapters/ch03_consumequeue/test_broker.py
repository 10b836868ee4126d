"""The whole broker of chapter 3: frames as the real one writes them, and our own consumer against it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from mq.commitlog.client import Producer, SendStatus
from mq.commitlog.message import Message
from mq.commitlog.store import MessageStore
from mq.consumequeue.client import PullConsumer, PullStatus
from mq.consumequeue.getmessage import GetMessageResult
from mq.consumequeue.pull import Pull, PullMessageProcessor
from mq.consumequeue.store import QueueStore
from mq.routing.broker import Broker
from mq.routing.client import ClientInstance, MessageQueue, create_topic
from mq.routing.topics import TopicConfig
from mq.sim.simulation import Simulation
from mq.system import build_broker, build_namesrv
from mq.wire.codec import encode_frame
from mq.wire.codes import RequestCode, ResponseCode
from mq.wire.command import RemotingCommand
from mq.wire.errors import Unreachable

SMALL = {"maxHashSlotNum": "64", "maxIndexNum": "50", "mappedFileSizeConsumeQueue": "200"}


@dataclass
class Rig:
    """A NameServer, a broker and a client in one simulation."""

    sim: Simulation
    broker: Broker
    instance: ClientInstance
    producer: Producer
    consumer: PullConsumer
    properties: dict[str, str] = field(default_factory=dict)

    def queue(self, queue_id: int = 0, topic: str = "flights") -> MessageQueue:
        return MessageQueue(topic, "broker-a", queue_id)

    async def send(self, queue_id: int, body: bytes, tag: str = "", keys: str = "") -> int:
        message = Message("flights", body, tag or None, keys or None)
        result = await self.producer.send(message, self.queue(queue_id))
        assert result.status is SendStatus.SEND_OK
        return result.queue_offset

    async def ask(self, code: int, **fields: Any) -> RemotingCommand:
        header = {name: str(value) for name, value in fields.items()}
        return await self.instance.rpc.invoke(self.broker.address, RemotingCommand(code, header))

    async def pull(self, queue_offset: int, queue_id: int = 0, **fields: Any) -> RemotingCommand:
        defaults = {
            "consumerGroup": "gates", "topic": "flights", "queueId": queue_id, "queueOffset": queue_offset,
            "maxMsgNums": 32, "sysFlag": 6, "commitOffset": 0, "suspendTimeoutMillis": 15_000,
            "subscription": "*", "subVersion": 1,
        }  # fmt: skip
        return await self.ask(RequestCode.PULL_MESSAGE, **(defaults | fields))

    async def restart(self, death: str | None) -> None:
        """Start again on the same disk, after a stop or a death."""
        if death is None:
            await self.sim.on("broker", self.broker.stop())
            self.sim.kill("broker")
        else:
            self.sim.kill("broker", death)
        self.broker = build_broker(self.sim.restart("broker"), self.properties, chapter=3)
        await self.sim.on("broker", self.broker.start())
        try:
            await self.ask(RequestCode.GET_MIN_OFFSET, topic="flights", queueId=0)
        except Unreachable:
            pass  # after a loss of power the old connection learns of it only now


def with_broker(
    story: Callable[[Rig], Awaitable[None]], seed: int = 1, properties: dict[str, str] | None = None
) -> None:
    with Simulation(seed) as sim:

        async def main() -> None:
            names = build_namesrv(sim.node("names"))
            await sim.on("names", names.start())
            told = {"namesrvAddr": names.address, **SMALL, **(properties or {})}
            broker = build_broker(sim.node("broker"), told, chapter=3)
            await sim.on("broker", broker.start())
            instance = ClientInstance(sim.node("client"), names.address, "client@1")
            rig = Rig(sim, broker, instance, Producer(instance, "airports"), PullConsumer(instance, "gates"))
            rig.properties = told
            await sim.on("client", client(rig))

        async def client(rig: Rig) -> None:
            await rig.instance.start()
            await rig.instance.add(rig.producer)
            await rig.instance.add(rig.consumer)
            await create_topic(rig.instance, rig.broker.address, TopicConfig("flights", 2, 2))
            await rig.instance.routes.find("flights")
            await story(rig)

        sim.run(main, timeout_s=900)


def frame_of(answer: RemotingCommand, opaque: int) -> str:
    answer.opaque = opaque
    return encode_frame(answer).hex()


# What the real 4.9.8 answered (transcripts/real-broker-transcript.md).
NOTHING_IN_QUEUE = (
    '{"code":19,"extFields":{"suggestWhichBrokerId":"0","nextBeginOffset":"0","maxOffset":"0","minOffset":"0"},'
    '"flag":1,"language":"JAVA","opaque":15,"remark":"NO_MESSAGE_IN_QUEUE","serializeTypeCurrentRPC":"JSON",'
    '"version":409}'
)
AT_THE_END = (
    '{"code":19,"extFields":{"suggestWhichBrokerId":"0","nextBeginOffset":"6","maxOffset":"6","minOffset":"0"},'
    '"flag":1,"language":"JAVA","opaque":3,"remark":"OFFSET_OVERFLOW_ONE","serializeTypeCurrentRPC":"JSON",'
    '"version":409}'
)
FOUND = (
    '{"code":0,"extFields":{"suggestWhichBrokerId":"0","nextBeginOffset":"2","maxOffset":"2","minOffset":"0"},'
    '"flag":1,"language":"JAVA","opaque":7,"remark":"FOUND","serializeTypeCurrentRPC":"JSON","version":409}'
)
OFFSET_0 = (
    '{"code":0,"extFields":{"offset":"0"},"flag":1,"language":"JAVA","opaque":4,'
    '"serializeTypeCurrentRPC":"JSON","version":409}'
)
COMMITTED = (
    '{"code":0,"extFields":{},"flag":1,"language":"JAVA","opaque":18,"serializeTypeCurrentRPC":"JSON",'
    '"version":409}'
)


def whole(header: str) -> str:
    return (
        (len(header) + 4).to_bytes(4, "big").hex()
        + len(header).to_bytes(4, "big").hex()
        + header.encode().hex()
    )


def test_replies_are_the_real_brokers_frames_byte_for_byte() -> None:
    async def story(rig: Rig) -> None:
        assert frame_of(await rig.pull(0), 15) == whole(NOTHING_IN_QUEUE)
        answer = await rig.ask(14, consumerGroup="gates", topic="flights", queueId=0)
        assert frame_of(answer, 4) == whole(OFFSET_0)
        answer = await rig.ask(15, consumerGroup="gates", topic="flights", queueId=0, commitOffset=1)
        assert frame_of(answer, 18) == whole(COMMITTED)
        for number in range(2):
            await rig.send(0, b"%d" % number)
        found = await rig.pull(0)
        found.body = b""
        assert frame_of(found, 7) == whole(FOUND)
        for number in range(4):
            await rig.send(0, b"%d" % number)
        assert frame_of(await rig.pull(6), 3) == whole(AT_THE_END)

    with_broker(story)


REFUSALS = [
    ({"topic": "nowhere"}, ResponseCode.TOPIC_NOT_EXIST, "topic[nowhere] not exist, apply first please!"),
    ({"queue_id": 2}, ResponseCode.SYSTEM_ERROR, "queueId[2] is illegal, topic:[flights] "),
    ({"queue_id": -1}, ResponseCode.SYSTEM_ERROR, "queueId[-1] is illegal"),
    ({"sysFlag": 2, "consumerGroup": "a b"}, ResponseCode.SUBSCRIPTION_GROUP_NOT_EXIST, "does not exist"),
    ({"sysFlag": 2, "consumerGroup": "unseen"}, ResponseCode.SUBSCRIPTION_NOT_EXIST, "group info not exist"),
    ({"subscription": "||"}, ResponseCode.SUBSCRIPTION_PARSE_FAILED, "'||'"),
    ({"expressionType": "SQL92", "subscription": "a > 1"}, ResponseCode.SYSTEM_ERROR, "message by SQL92"),
    ({"queueOffset": "x"}, ResponseCode.SYSTEM_ERROR, "queueOffset is 'x', not a number"),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "code", "words"), REFUSALS)
def test_a_pull_that_may_not_be_answered_is_told_why(
    fields: dict[str, Any], code: ResponseCode, words: str
) -> None:
    async def story(rig: Rig) -> None:
        answer = await rig.pull(0, **fields)
        assert answer.code == code
        assert answer.remark is not None and words in answer.remark
        assert answer.ext_fields == (None if "queueOffset" in fields else {}), "as the real broker's"

    with_broker(story)


def test_a_group_that_may_not_consume_and_a_topic_that_may_not_be_read_are_refused() -> None:
    async def story(rig: Rig) -> None:
        group = b'{"groupName":"gates","consumeEnable":false}'
        command = RemotingCommand(RequestCode.UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, body=group)
        assert (await rig.instance.rpc.invoke(rig.broker.address, command)).code == 0
        answer = await rig.pull(0)
        assert (answer.code, answer.remark) == (16, "subscription group no permission, gates")
        await create_topic(rig.instance, rig.broker.address, TopicConfig("flights", 2, 2, perm=2))
        answer = await rig.pull(0, consumerGroup="boards")
        assert (answer.code, answer.remark) == (16, "the topic[flights] pulling message is forbidden")

    with_broker(story)


def heartbeat(expression: str, version: int, model: str = "CLUSTERING") -> bytes:
    return (
        '{"clientID":"c@1","consumerDataSet":[{"groupName":"boards","consumeType":"CONSUME_PASSIVELY",'
        f'"messageModel":"{model}","consumeFromWhere":"CONSUME_FROM_FIRST_OFFSET","subscriptionDataSet":[{{'
        f'"topic":"flights","subString":"{expression}","tagsSet":["HA"],"codeSet":[2297],"subVersion":{version}'
        '}],"unitMode":false}],"producerDataSet":[]}'
    ).encode()


def test_without_the_flag_the_groups_last_heartbeat_says_what_it_wants() -> None:
    async def story(rig: Rig) -> None:
        for tag in ("UA", "HA", "UA"):
            await rig.send(0, tag.encode(), tag)
        beat = RemotingCommand(RequestCode.HEART_BEAT, body=heartbeat("HA", 5))
        assert (await rig.instance.rpc.invoke(rig.broker.address, beat)).code == 0
        plain: dict[str, Any] = {"consumerGroup": "boards", "sysFlag": 2, "subscription": ""}
        answer = await rig.pull(0, **plain, subVersion=5)
        assert (answer.code, answer.ext_fields and answer.ext_fields["nextBeginOffset"]) == (0, "3")
        assert answer.body.count(b"UA") == 0 and answer.body.count(b"HA") == 2  # body and tag
        late = await rig.pull(0, **plain, subVersion=6)
        assert (late.code, late.remark) == (25, "the consumer's subscription not latest")
        other = await rig.pull(0, **(plain | {"topic": "TBW102"}))
        assert other.code == 24 and other.remark is not None
        assert other.remark.startswith("the consumer's subscription not exist")

    with_broker(story)


def test_a_pull_can_carry_the_offset_that_its_group_has_done() -> None:
    async def story(rig: Rig) -> None:
        await rig.pull(0, sysFlag=4, commitOffset=9)
        assert await rig.consumer.query_offset(rig.queue()) == 0
        await rig.pull(0, sysFlag=5, commitOffset=9)
        assert await rig.consumer.query_offset(rig.queue()) == 9

    with_broker(story)


def test_later_floors_can_refuse_suggest_and_keep_a_pull() -> None:
    async def story(rig: Rig) -> None:
        pulls = rig.broker.part(PullMessageProcessor)
        kept: list[Pull] = []

        def keep_the_first(pull: Pull, result: GetMessageResult) -> bool:
            kept.append(pull)
            return len(kept) == 1

        pulls.on_nothing.append(keep_the_first)
        pulls.suggest_broker.append(lambda pull, result: 1 if result.records else None)
        waiting = rig.instance.node.spawn(rig.pull(0), "held pull")
        await rig.send(1, b"another queue")
        assert len(kept) == 1 and not waiting.done()
        await rig.send(0, b"news")
        pulls.answer(kept[0], allow_suspend=False)
        answer = await waiting
        assert answer.code == 0 and b"news" in answer.body
        assert answer.ext_fields is not None and answer.ext_fields["suggestWhichBrokerId"] == "1"

    with_broker(story)


def test_a_consumer_reads_one_queue_in_order_and_keeps_its_place() -> None:
    """I3.4 over the wire."""

    async def story(rig: Rig) -> None:
        for number in range(70):
            await rig.send(number % 2, b"%d" % number, ("HA", "UA", "DL")[number % 3])
        consumer, queue = rig.consumer, rig.queue(1)
        assert sorted(await consumer.fetch_queues("flights")) == [rig.queue(0), queue]
        assert [await consumer.min_offset(queue), await consumer.max_offset(queue)] == [0, 35]
        at, seen = await consumer.query_offset(queue), []
        while True:
            outcome = await consumer.pull(queue, "HA || DL", at, max_messages=8)
            if outcome.status is PullStatus.NO_NEW_MSG:
                break
            seen += [message.body for message in outcome.messages]
            at = outcome.next_begin_offset
            await consumer.update_offset(queue, at)
        assert seen == [b"%d" % number for number in range(70) if number % 2 and number % 3 != 1]
        assert await consumer.query_offset(queue) == 35
        wrong = await consumer.pull(queue, "*", 99)
        assert (wrong.status, wrong.next_begin_offset) == (PullStatus.OFFSET_ILLEGAL, 35)

    with_broker(story)


def test_two_tags_with_one_hash_are_told_apart_by_the_consumer() -> None:
    async def story(rig: Rig) -> None:
        for tag in ("AaTopic#BB", "BBTopic#Aa"):
            await rig.send(0, tag.encode(), tag)
        raw = await rig.pull(0, subscription="AaTopic#BB")
        assert raw.body.count(b"BBTopic#Aa") == 2, "the broker compares hashes, and lets the stranger pass"
        outcome = await rig.consumer.pull(rig.queue(), "AaTopic#BB", 0)
        assert [message.body for message in outcome.messages] == [b"AaTopic#BB"]
        assert outcome.next_begin_offset == 2

    with_broker(story)


def test_a_message_is_found_by_time_by_key_and_by_its_clients_id() -> None:
    async def story(rig: Rig) -> None:
        node, consumer = rig.instance.node, rig.consumer
        assert await consumer.earliest(rig.queue()) == -1
        times = []
        for number in range(30):
            times.append(rig.broker.node.wall_ms())
            await rig.send(0, b"%d" % number, keys=f"N{number % 3}HA shared")
            await node.sleep_ms(1_000)
        assert abs(await consumer.earliest(rig.queue()) - times[0]) < 100
        assert await consumer.search_offset(rig.queue(), times[11] + 100) == 11
        assert await consumer.search_offset(rig.queue(), 0) == 0
        assert await consumer.search_offset(rig.queue(1), times[11]) == 0
        found = await consumer.query_message("flights", "N1HA")
        assert [message.body for message in found] == [b"%d" % number for number in range(1, 30, 3)]
        assert len(await consumer.query_message("flights", "shared", begin_ms=times[20] - 1_000)) == 10
        unique = found[0].properties["UNIQ_KEY"]
        assert [message.body for message in await consumer.query_message("flights", unique)] == [b"1"]
        assert await consumer.query_message("flights", "nobody") == []
        answer = await rig.ask(
            12, topic="flights", key="nobody", maxNum=9, beginTimestamp=0, endTimestamp=1 << 60
        )
        assert (answer.code, answer.remark) == (22, "can not find message, maybe time range not correct")

    with_broker(story)


YOUNG = "Not found, V3_0_6_SNAPSHOT maybe this group consumer boot first"


def test_a_group_that_never_committed_is_told_0_while_the_queue_is_young() -> None:
    async def story(rig: Rig) -> None:
        query = {"consumerGroup": "new", "topic": "flights", "queueId": 0}
        refused = await rig.ask(14, **query, setZeroIfNotFound="false")
        assert (
            refused.code == 22
            and refused.ext_fields == {}
            and refused.remark == "Not found, do not set to zero, maybe this group boot first"
        )
        await rig.send(0, b"x")
        answer = await rig.ask(14, **query)
        assert (answer.code, answer.ext_fields) == (0, {"offset": "0"})
        for _ in range(10):
            await rig.send(1, bytes(1_000))
        answer = await rig.ask(14, **query)
        assert (answer.code, answer.remark) == (22, YOUNG), "its first message is no longer in memory"
        answer = await rig.ask(14, **(query | {"queueId": 1}))
        assert answer.code == 22

    with_broker(story, properties={"physicalMemoryBytes": "10000"})  # 40 %: 4,000 bytes


def test_once_the_first_message_is_gone_the_broker_no_longer_says_0() -> None:
    async def story(rig: Rig) -> None:
        for _ in range(3):
            await rig.send(0, b"x")
        queue = rig.broker.part(QueueStore).find("flights", 0)
        assert queue is not None
        entry = queue.entry_at(2)
        assert entry is not None
        queue.delete_before(entry.physical_offset)
        assert await rig.consumer.min_offset(rig.queue()) == 2
        assert await rig.consumer.query_offset(rig.queue()) == -1

    with_broker(story)


@pytest.mark.parametrize("death", [None, "process", "power"])
@pytest.mark.parametrize("seed", range(4))
def test_after_a_restart_the_log_and_the_queues_agree(death: str | None, seed: int) -> None:
    """I3.2: in whatever way the broker ended, each queue has each message of the log once."""

    async def story(rig: Rig) -> None:
        sent: dict[tuple[int, int], bytes] = {}
        for number in range(60):
            queue_id = number % 2
            sent[queue_id, await rig.send(queue_id, b"%d" % number, keys=f"k{number % 5}")] = b"%d" % number
            await rig.instance.node.sleep_ms((seed * 700) % 1900)
        await rig.consumer.update_offset(rig.queue(), 7)
        await rig.restart(death)
        store = rig.broker.part(MessageStore)
        logged = log_bodies(store)
        if death is None or death == "process":
            assert len(logged) == 60
        for queue_id in range(2):
            queue = rig.broker.part(QueueStore).find("flights", queue_id)
            expected = [body for (of, _), body in sent.items() if of == queue_id and body in logged]
            found = []
            for number in range(queue.max_queue_offset if queue else 0):
                entry = queue.entry_at(number) if queue else None
                assert entry is not None
                record = store.record_at(entry.physical_offset, entry.size)
                assert record is not None and record.queue_offset == number
                found.append(record.body)
            assert found == expected
        with_key = await rig.consumer.query_message("flights", "k3")
        assert [message.body for message in with_key] == [body for body in logged if int(body) % 5 == 3]
        if death is None:
            assert await rig.consumer.query_offset(rig.queue()) == 7
        before = len([body for body in logged if int(body) % 2 == 0])
        assert await rig.send(0, b"60") == before

    with_broker(story, seed)


def log_bodies(store: MessageStore) -> list[bytes]:
    from mq.commitlog.reader import LogReader

    return [
        message.body for message in LogReader(store.log, store.min_physical_offset, store.max_physical_offset)
    ]


def test_deleted_queues_and_index_come_back_with_a_restart() -> None:
    """I3.3 with the whole broker."""

    async def story(rig: Rig) -> None:
        for number in range(40):
            await rig.send(number % 2, b"%d" % number, keys="k")
        await rig.sim.on("broker", rig.broker.stop())
        disk = rig.broker.node.disk
        before = files_below(disk, "consumequeue")
        assert before
        for path in before:
            disk.remove(path)
        for name in disk.list("index"):
            disk.remove(f"index/{name}")
        disk.remove("index")
        await rig.restart("process")
        await rig.sim.on("broker", rig.broker.stop())
        assert files_below(rig.broker.node.disk, "consumequeue") == before
        await rig.restart("process")
        assert len(await rig.consumer.query_message("flights", "k")) == 40

    with_broker(story)


def files_below(disk: Any, directory: str) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for name in disk.list(directory):
        path = f"{directory}/{name}"
        if len(name) < 20:
            found |= files_below(disk, path)
        else:
            file = disk.open(path)
            found[path] = file.read_at(0, file.length())
            file.close()
    return found


def test_a_pull_that_finds_nothing_is_answered_at_once() -> None:
    """Holding it is a later floor's business, which is asked first."""

    async def story(rig: Rig) -> None:
        seen: list[str] = []

        def decline(pull: Pull, result: GetMessageResult) -> bool:
            seen.append(result.status.name)
            return False

        rig.broker.part(PullMessageProcessor).on_nothing.append(decline)
        began_ms = rig.instance.node.monotonic_ms()
        assert (await rig.pull(0)).code == ResponseCode.PULL_NOT_FOUND
        assert rig.instance.node.monotonic_ms() - began_ms < 100
        assert seen == ["NO_MESSAGE_IN_QUEUE"]

    with_broker(story)
