"""Clients: who is a producer and who a consumer, in the words of the clients that exist."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mq.clients.broker import plug
from mq.clients.groups import SYSTEM_GROUPS, SubscriptionGroupManager
from mq.clients.heartbeat import ConsumerData, decode_heartbeat
from mq.clients.manager import CHANNEL_EXPIRED_MS, ClientChannel, ConsumerManager, ProducerManager
from mq.clients.subscription import SubscriptionData, build_subscription
from mq.routing.broker import Broker
from mq.routing.broker import plug as plug_routing
from mq.runtime.errors import MQError
from mq.sim.node import SimNode
from mq.sim.simulation import Simulation
from mq.wire.client import RpcClient
from mq.wire.codec import decode_frame
from mq.wire.command import RemotingCommand
from mq.wire.frame import FrameProtocol
from mq.wire.rpc import Connection, Processors

# What real clients sent: the C++ client 1.x, ali-ons 3.12.0 and a producer of the C++ client 2.1.0.
CPP = (
    b'{"clientID":"12762-127.0.0.1@DEFAULT","consumerDataSet":[{"consumeFromWhere":0,"consumeType":1,'
    b'"groupName":"CG_cpp_push","messageModel":1,"subscriptionDataSet":[{"subString":"*",'
    b'"subVersion":"1795367864504","topic":"%RETRY%CG_cpp_push"},{"subString":"*",'
    b'"subVersion":"1795367864504","topic":"CppTopic"}]}]}\n'
)
ALI_ONS = (
    b'{"clientID":"192.0.2.2@12263","consumerDataSet":[{"groupName":"CG_ons","consumeType":'
    b'"CONSUME_PASSIVELY","messageModel":"CLUSTERING","consumeFromWhere":"CONSUME_FROM_FIRST_OFFSET",'
    b'"subscriptionDataSet":[{"topic":"OnsTopic","subString":"*","classFilterMode":false,"tagsSet":[],'
    b'"codeSet":[],"subVersion":1795367808957}],"unitMode":false}],"producerDataSet":[]}'
)
CPP_PRODUCER = b'{"clientID":"127.0.0.1@12224#DEFAULT","producerDataSet":[{"groupName":"PG_cpp"}]}\n'

# What the real broker answered to the heartbeats of C++ 1.x and to UNREGISTER_CLIENT of ali-ons.
HEARTBEAT_REPLY = bytes.fromhex(
    "000000630000005f7b22636f6465223a302c22666c6167223a312c226c616e6775616765223a224a415641222c226f7061717565"
    "223a332c2273657269616c697a655479706543757272656e74525043223a224a534f4e222c2276657273696f6e223a3430397d"
)
UNREGISTER_REPLY = bytes.fromhex(
    "000000720000006e7b22636f6465223a302c226578744669656c6473223a7b7d2c22666c6167223a312c226c616e6775616765"
    "223a224a415641222c226f7061717565223a352c2273657269616c697a655479706543757272656e74525043223a224a534f4e"
    "222c2276657273696f6e223a3430397d"
)


def beat(group: str, *topics: str, version: int = 1, expression: str = "*") -> ConsumerData:
    return ConsumerData(group, tuple(build_subscription(topic, expression, version) for topic in topics))


@pytest.fixture(name="node")
def _node() -> Iterator[SimNode]:
    with Simulation(1) as sim:
        yield sim.node("a")


def channel(node: SimNode, client_id: str = "c") -> ClientChannel:
    return ClientChannel(client_id, Connection(node, Processors()), "JAVA", 409, 0.0)


# ---------------------------------------------------------------- expressions


def test_tags_become_codes_and_blanks_and_repeats_are_left_out() -> None:
    found = build_subscription("T", " TagA || TagB||TagA || ", 7)
    assert (found.tags_set, found.code_set) == (["TagA", "TagB"], [2598919, 2598920])
    assert (found.sub_string, found.sub_version, found.wants_all) == (" TagA || TagB||TagA || ", 7, False)


@pytest.mark.parametrize("expression", [None, "", "*"])
def test_no_expression_means_every_message(expression: str | None) -> None:
    found = build_subscription("T", expression)
    assert found.wants_all and found.sub_string == "*" and not found.tags_set and not found.code_set


def test_an_expression_of_bars_alone_is_refused_with_code_23() -> None:
    with pytest.raises(MQError, match="has 0 tags") as caught:
        build_subscription("T", " || ")
    assert caught.value.response_code == 23


def test_an_expression_of_another_language_is_carried_as_it_came() -> None:
    found = build_subscription("T", "delay > 15", expression_type="SQL92")
    assert (found.sub_string, found.expression_type, found.code_set) == ("delay > 15", "SQL92", [])
    assert not found.wants_all


TAGS = st.lists(st.text("abcABC_-é😀", min_size=1), min_size=1, max_size=5)


@given(TAGS, st.integers(0, 2**62))
def test_a_subscription_survives_its_json(tags: list[str], version: int) -> None:
    made = build_subscription("T", "||".join(tags), version)
    assert SubscriptionData.from_json(json.loads(json.dumps(made.to_json()))) == made


# ---------------------------------------------------------------- heartbeats


def test_a_cpp_heartbeat_with_ordinals_and_numbers_as_text_is_understood() -> None:
    found = decode_heartbeat(CPP)
    assert found.client_id == "12762-127.0.0.1@DEFAULT" and found.producer_groups == ()
    [group] = found.consumers
    assert (group.consume_type, group.message_model) == ("CONSUME_PASSIVELY", "CLUSTERING")
    assert group.consume_from_where == "CONSUME_FROM_LAST_OFFSET"
    assert [each.topic for each in group.subscriptions] == ["%RETRY%CG_cpp_push", "CppTopic"]
    assert [each.sub_version for each in group.subscriptions] == [1795367864504] * 2
    assert all(each.wants_all for each in group.subscriptions)


def test_an_ali_ons_heartbeat_is_understood() -> None:
    [group] = decode_heartbeat(ALI_ONS).consumers
    assert (group.group, group.consume_from_where) == ("CG_ons", "CONSUME_FROM_FIRST_OFFSET")
    assert group.subscriptions == (SubscriptionData("OnsTopic", sub_version=1795367808957),)


def test_what_we_send_is_what_we_read() -> None:
    sent = ConsumerData("G", (build_subscription("T", "A||B", 5),), message_model="BROADCASTING")
    body = json.dumps({"clientID": "me", "consumerDataSet": [sent.to_json()]}).encode()
    assert decode_heartbeat(body).consumers == (sent,)


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"", "not JSON"),
        (b"[]", "not an object"),
        (b"{}", "clientID is missing"),
        (b'{"clientID":{}}', "clientID is an object, not text"),
        (b'{"clientID":"c","producerDataSet":{}}', "producerDataSet is an object, not a list"),
        (b'{"clientID":"c","producerDataSet":[1]}', "not an object"),
        (b'{"clientID":"c","producerDataSet":[{}]}', "groupName is missing"),
        (
            b'{"clientID":"c","consumerDataSet":[{"groupName":"g","consumeType":9}]}',
            "be one of CONSUME_ACT",
        ),
        (
            b'{"clientID":"c","consumerDataSet":[{"groupName":"g","subscriptionDataSet":'
            b'[{"topic":"T","subVersion":"x"}]}]}',
            "subVersion is 'x'",
        ),
        (b'{"clientID":NaN}', "NaN"),
        (b'{"clientID":"c","producerDataSet":[' + b'{"groupName":"g"},' * 1000 + b"{}]}", "at most 1000"),
        (b" " * (1 << 20) + b"{}", "at most 1048576"),
        (b"[" * 100_000, "not JSON"),
    ],
)
def test_a_heartbeat_of_the_wrong_shape_is_a_sentence(body: bytes, sentence: str) -> None:
    with pytest.raises(MQError, match=sentence) as caught:
        decode_heartbeat(body)
    assert caught.value.response_code == 1


GROUP_MEMBERS = [
    "groupName",
    "consumeType",
    "unitMode",
    "subscriptionDataSet",
    "topic",
    "tagsSet",
    "subVersion",
]
MEMBERS = ["clientID", "consumerDataSet", "producerDataSet", "codeSet", *GROUP_MEMBERS]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(MEMBERS),
                inner,
            )
        ),
    )
)
def test_no_json_makes_the_heartbeat_reader_stumble(told: Any) -> None:
    try:
        decode_heartbeat(json.dumps(told).encode())
    except MQError as error:
        assert error.remark


# ---------------------------------------------------------------- tables


def test_of_two_subscriptions_to_a_topic_the_newer_stands_and_an_unnamed_topic_goes(node: SimNode) -> None:
    consumers, member = ConsumerManager(), channel(node)
    consumers.register(beat("G", "T", "U", version=5, expression="new"), member, 0)
    consumers.register(beat("G", "T", version=4, expression="old"), member, 0)
    info = consumers.find("G")
    assert info is not None and list(info.subscriptions) == ["T"]
    assert info.subscriptions["T"].sub_string == "new", "an older subscription replaced a newer one"
    consumers.register(beat("G", "T", version=6, expression="newest"), member, 0)
    found = consumers.subscription("G", "T")
    assert found is not None and found.sub_string == "newest"


def test_listeners_hear_a_change_when_members_or_topics_change_and_not_at_each_heartbeat(
    node: SimNode,
) -> None:
    consumers, heard = ConsumerManager(), []
    consumers.listeners.append(lambda group, event: heard.append(event))
    one, two = channel(node, "one"), channel(node, "two")
    for data, member in [(beat("G", "T"), one), (beat("G", "T"), one), (beat("G", "T"), two)]:
        consumers.register(data, member, 0)
    assert heard == ["change", "register", "register", "change", "register"]
    heard.clear()
    consumers.register(beat("G", "T", "U"), two, 0)
    assert heard == ["change", "register"]
    heard.clear()
    consumers.unregister("G", one.connection)
    consumers.unregister("G", one.connection)
    consumers.connection_closed(two.connection)
    assert heard == ["change", "unregister", "change"]
    assert consumers.find("G") is None, "a group without members is still there"


def test_a_group_that_wants_no_notice_is_not_told_of_changes(node: SimNode) -> None:
    consumers, heard = ConsumerManager(), []
    consumers.listeners.append(lambda group, event: heard.append(event))
    consumers.register(beat("G", "T"), channel(node), 0, notify=False)
    assert heard == ["register"]


def test_a_member_is_dropped_after_120_seconds_of_silence_and_not_before(node: SimNode) -> None:
    consumers, producers, silent, busy = ConsumerManager(), ProducerManager(), channel(node), channel(node)
    for member in (silent, busy):
        consumers.register(beat("G", "T"), member, 0)
        producers.register("P", member, 0)
    consumers.register(beat("G", "T"), busy, 50_000)
    producers.register("P", busy, 50_000)
    assert consumers.expire(CHANNEL_EXPIRED_MS) == producers.expire(CHANNEL_EXPIRED_MS) == []
    now_ms = CHANNEL_EXPIRED_MS + 1
    assert consumers.expire(now_ms) == producers.expire(now_ms) == [silent.connection]
    info = consumers.find("G")
    assert info is not None and list(info.channels) == [busy.connection]
    assert [member.connection for member in producers.channels("P")] == [busy.connection]


def test_a_closed_connection_leaves_all_its_groups_and_no_other(node: SimNode) -> None:
    consumers, producers, gone, stays = ConsumerManager(), ProducerManager(), channel(node), channel(node)
    for group in ("A", "B"):
        consumers.register(beat(group, "T"), gone, 0)
        producers.register(group, gone, 0)
    consumers.register(beat("A", "T"), stays, 0)
    consumers.connection_closed(gone.connection)
    producers.connection_closed(gone.connection)
    assert list(consumers.groups) == ["A"] and producers.groups == {}
    assert consumers.groups["A"].client_ids() == ["c"]


# ---------------------------------------------------------------- on a broker


class RawClient(FrameProtocol):
    """Sends requests and keeps the frames that come back, as they came."""

    def __init__(self, node: SimNode) -> None:
        super().__init__(node)
        self.frames: list[bytes] = []

    def frame_received(self, payload: bytes) -> None:
        self.frames.append(len(payload).to_bytes(4, "big") + payload)

    async def ask(self, header: bytes, body: bytes = b"") -> bytes:
        """One request with this header's text; its reply as it came."""
        length = (4 + len(header) + len(body)).to_bytes(4, "big")
        self.write(length + len(header).to_bytes(4, "big") + header + body)
        await asyncio.sleep(1)
        return self.frames.pop()


@contextmanager
def a_broker(**settings: str) -> Iterator[tuple[Simulation, Broker]]:
    with Simulation(1) as sim:
        node = sim.node("broker-a")
        broker = Broker(node, {"namesrvAddr": "", **settings})
        plug_routing(broker)
        plug(broker)
        sim.run(sim.on(node, broker.start()), timeout_s=60)
        yield sim, broker
        assert sim.failures == []


def raw_client(sim: Simulation, broker: Broker, name: str = "client") -> RawClient:
    node = sim.node(name)
    return sim.run(node.connect(broker.address, lambda: RawClient(node)), timeout_s=10)


def test_replies_to_heartbeat_and_unregister_are_those_of_the_real_broker_to_the_byte() -> None:
    with a_broker() as (sim, broker):
        client = raw_client(sim, broker)
        header = b'{"code":34,"flag":0,"language":"CPP","opaque":3,"remark":"","version":63}\n'
        assert sim.run(client.ask(header, CPP_PRODUCER)) == HEARTBEAT_REPLY
        assert [each.client_id for each in broker.part(ProducerManager).channels("PG_cpp")] == [
            "127.0.0.1@12224#DEFAULT"
        ]
        header = (
            b'{"code":35,"language":"JAVA","opaque":5,"flag":0,"version":121,'
            b'"extFields":{"clientID":"undefined@11993","producerGroup":"PG_cpp"}}'
        )
        assert sim.run(client.ask(header)) == UNREGISTER_REPLY
        assert broker.part(ProducerManager).channels("PG_cpp") == []


def test_a_first_heartbeat_makes_the_group_and_its_retry_topic_and_they_outlive_the_broker() -> None:
    with a_broker() as (sim, broker):
        client = raw_client(sim, broker)
        sim.run(client.ask(b'{"code":34,"opaque":1}', CPP))
        topic = broker.topics.find("%RETRY%CG_cpp_push")
        assert topic is not None and (topic.read_queue_nums, topic.write_queue_nums, topic.perm) == (1, 1, 6)
        sim.run(sim.on("broker-a", broker.stop()), timeout_s=60)
        again = SubscriptionGroupManager(sim.node("broker-a"), auto_create=False)
        assert again.load() and again.find("CG_cpp_push") is not None
        assert again.find("another") is None


def test_a_table_that_is_taken_over_leaves_no_group_that_it_does_not_name(node: SimNode) -> None:
    """A slave takes its master's table: a group that was deleted there is deleted here."""
    groups = SubscriptionGroupManager(node)
    told = groups.encode()
    assert groups.find("deleted there") is None and groups.find("deleted_there") is not None
    groups.decode(told)
    assert "deleted_there" not in groups.table and set(SYSTEM_GROUPS) == set(groups.table)


def test_without_auto_creation_a_heartbeat_is_taken_and_the_group_is_not_made() -> None:
    with a_broker(autoCreateSubscriptionGroup="false") as (sim, broker):
        client = raw_client(sim, broker)
        assert decode_frame(sim.run(client.ask(b'{"code":34,"opaque":1}', CPP))[4:]).code == 0
        assert broker.part(SubscriptionGroupManager).find("CG_cpp_push") is None
        assert broker.topics.find("%RETRY%CG_cpp_push") is None
        assert broker.part(ConsumerManager).find("CG_cpp_push") is not None


def test_a_client_whose_process_dies_leaves_its_groups_at_once() -> None:
    with a_broker() as (sim, broker):
        client = raw_client(sim, broker)
        sim.run(client.ask(b'{"code":34,"opaque":1}', ALI_ONS))
        assert list(broker.part(ConsumerManager).groups) == ["CG_ons"]
        sim.kill("client")
        sim.run(asyncio.sleep(1))
        assert broker.part(ConsumerManager).groups == {}


def test_a_client_that_talks_without_heartbeats_is_dropped_and_closed_after_two_minutes() -> None:
    with a_broker() as (sim, broker):
        client = raw_client(sim, broker)
        sim.run(client.ask(b'{"code":34,"opaque":1}', ALI_ONS))

        async def talk(for_s: int) -> None:
            for _ in range(for_s // 10):
                await asyncio.sleep(9)
                await client.ask(b'{"code":99999,"opaque":1}')  # the server's own idle limit must not help

        sim.run(talk(110))
        assert list(broker.part(ConsumerManager).groups) == ["CG_ons"], "dropped too early"
        sim.run(asyncio.sleep(22))
        assert broker.part(ConsumerManager).groups == {}, "still there after 133 s without a heartbeat"
        assert not client.is_open
        reasons = [dict(event.fields)["reason"] for event in sim.events if event.kind == "connection closed"]
        assert reasons == ["no heartbeat for 120 s"]


def test_an_operator_changes_a_group_with_code_200_and_a_slave_reads_it_with_201() -> None:
    with a_broker() as (sim, broker):
        rpc = RpcClient(sim.node("operator"))

        async def change() -> tuple[RemotingCommand, RemotingCommand, RemotingCommand]:
            body = b'{"groupName":"G","retryMaxTimes":"3","consumeEnable":false,"somethingNew":1}'
            changed = await rpc.invoke(broker.address, RemotingCommand(200, body=body))
            refused = await rpc.invoke(broker.address, RemotingCommand(200, body=b'{"groupName":"a b"}'))
            return changed, refused, await rpc.invoke(broker.address, RemotingCommand(201))

        changed, refused, table = sim.run(sim.on("operator", change()), timeout_s=10)
        assert changed.code == 0
        assert (refused.code, refused.remark) == (
            1,
            "the group name 'a b' contains ' '; allowed are % | - _ a-z A-Z 0-9",
        )
        told = json.loads(table.body)
        assert told["subscriptionGroupTable"]["G"] == {
            "brokerId": 0,
            "consumeBroadcastEnable": True,
            "consumeEnable": False,
            "consumeFromMinEnable": True,
            "groupName": "G",
            "notifyConsumerIdsChangedEnable": True,
            "retryMaxTimes": 3,
            "retryQueueNums": 1,
            "whichBrokerWhenConsumeSlowly": 1,
        }
        assert told["dataVersion"]["counter"] == 1
