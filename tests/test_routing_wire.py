"""Conformance of routing: frames of real brokers, clients and NameServers, and bodies nobody should send."""

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mq.routing.bodies import BodyError, read_object
from mq.routing.broker import Broker
from mq.routing.client import ClientInstance, create_topic, list_topics
from mq.routing.namesrv import NameServer
from mq.routing.route import BrokerData, QueueData, TopicRouteData
from mq.routing.tables import Registration, RouteTables
from mq.routing.topics import (
    AUTO_CREATE_TOPIC,
    DataVersion,
    TopicConfig,
    check_topic_name,
    topics_from_json,
    topics_to_json,
)
from mq.runtime.errors import MQError, SettingsError, StoreError
from mq.sim.node import SimNode
from mq.sim.simulation import Simulation
from mq.system import LATEST, BareServer, build_broker, build_namesrv
from mq.wire.client import RpcClient
from mq.wire.codec import encode_frame
from tests.wire_rig import REAL, Capture, captures, connection_by_hand, framed, frames_in, request

KNOWN = {(capture.source, capture.line): capture for capture in captures()}
ROUTE_PAIRS = [(2, 7), (8, 9)]  # request and answer 4.9.8, on the lines of its capture
UNKNOWN_PAIRS = [(28, 29), (37, 38)]
BROKER_A = "127.0.0.1:30911"


def real(line: int) -> Capture:
    return KNOWN[REAL, line]


def told(*topics: TopicConfig, version: int = 1, address: str = BROKER_A) -> Registration:
    table = {topic.topic_name: topic for topic in topics}
    return Registration("DefaultCluster", "broker-a", 0, address, "", DataVersion(0, version), table)


def answer(server: NameServer, sim: Simulation, *frames: bytes) -> bytes:
    """What the NameServer writes back to these bytes, over a connection of their own."""
    connection, transport = connection_by_hand(sim, server.server.registry)
    for frame in frames:
        connection.data_received(frame)
    return transport.written


@pytest.fixture(name="sim")
def _sim() -> Iterator[Simulation]:
    with Simulation(seed=1) as sim:
        yield sim
        assert sim.failures == []


@pytest.fixture(name="server")
def _server(sim: Simulation) -> NameServer:
    return NameServer(sim.node("namesrv"))


# ---------------------------------------------------------------- frames of 4.9.8


def test_a_registration_of_the_real_broker_is_answered_as_the_real_name_server_does(
    sim: Simulation, server: NameServer
) -> None:
    assert answer(server, sim, real(4).frame) == real(5).frame
    route = server.tables.route("OnsTopic")
    assert route == TopicRouteData(
        [QueueData("broker-a", 2, 2, 6)], [BrokerData("DefaultCluster", "broker-a", {0: BROKER_A})]
    )


def test_our_broker_registers_with_the_bytes_of_the_real_one(sim: Simulation) -> None:
    broker = Broker(sim.node("broker"), {"brokerIP1": "127.0.0.1", "listenPort": "30911"})
    broker.topics.table = {"OnsTopic": TopicConfig("OnsTopic", 2, 2)}
    broker.topics.data_version = DataVersion(1795369855379, 1)
    broker.registrar.contribute.append(lambda fields: fields.update(haServerAddr="127.0.0.1:30912"))
    command = broker.registrar.registration()
    command.opaque = 6
    assert encode_frame(command) == real(4).frame


def test_a_known_topic_is_answered_with_the_bytes_of_the_real_name_server(
    sim: Simulation, server: NameServer
) -> None:
    """One difference, on purpose: to clients before 4.9.4 the real one writes broker ids without quotes."""
    server.tables.register(told(TopicConfig("TBW102", 8, 8, 7), TopicConfig("OnsTopic", 2, 2)), None, 0)
    for asked, answered in ROUTE_PAIRS:
        expected = real(answered)
        quoted = re.sub(rb"([{,])(\d+):", rb'\1"\2":', expected.body)
        assert answer(server, sim, real(asked).frame) == framed(expected.header, quoted)
    assert b'{"0":' in real(7).body and b"{0:" in real(9).body


def test_an_unknown_topic_is_answered_with_the_bytes_of_the_real_name_server(
    sim: Simulation, server: NameServer
) -> None:
    for asked, answered in UNKNOWN_PAIRS:
        assert answer(server, sim, real(asked).frame) == real(answered).frame


def test_a_route_of_the_real_name_server_is_read_with_and_without_quotes() -> None:
    for line, queue_nums, perm in ((7, 8, 7), (9, 2, 6), (30, 8, 7)):
        route = TopicRouteData.from_json(real(line).body)
        assert route.queues == [QueueData("broker-a", queue_nums, queue_nums, perm)]
        assert route.brokers == [BrokerData("DefaultCluster", "broker-a", {0: BROKER_A})]


def test_creating_a_topic_is_answered_with_the_words_of_the_real_broker(sim: Simulation) -> None:
    broker = build_broker(sim.node("broker"), {}, chapter=1)
    connection, transport = connection_by_hand(sim, broker.server.registry)
    sim.node("broker").call_soon(lambda: connection.data_received(real(3).frame))
    sim.run(asyncio.sleep(1))
    assert transport.written == real(6).frame
    assert broker.topics.find("OnsTopic") == TopicConfig("OnsTopic", 2, 2)


def test_every_captured_question_for_a_route_is_understood(sim: Simulation, server: NameServer) -> None:
    """Java, ali-ons and two C++ clients, with signatures, trailing newlines and headers in any order."""
    asked = [capture for capture in captures() if capture.fields["code"] == 105]
    assert len(asked) == 16
    for capture in asked:
        (reply,) = frames_in(answer(server, sim, capture.frame))
        topic = capture.fields["extFields"]["topic"]
        assert (reply.code, reply.opaque) == (17, capture.fields["opaque"])
        assert f"for the topic: {topic}\n" in (reply.remark or "")


# ---------------------------------------------------------------- what has no captured frame


def test_the_list_of_topics_is_sorted_and_has_no_header_fields(sim: Simulation, server: NameServer) -> None:
    server.tables.register(told(TopicConfig("b"), TopicConfig("a")), None, 0)
    (reply,) = frames_in(answer(server, sim, request(206)))
    assert (reply.code, reply.ext_fields, reply.body) == (0, None, b'{"topicList":["a","b"]}')


def test_a_goodbye_takes_a_broker_out_of_every_route(sim: Simulation, server: NameServer) -> None:
    server.tables.register(told(TopicConfig("flights")), None, 0)
    fields = {"brokerName": "broker-a", "brokerAddr": BROKER_A, "clusterName": "DefaultCluster"}
    (reply,) = frames_in(answer(server, sim, request(104, ext={**fields, "brokerId": "0"})))
    assert (reply.code, reply.ext_fields, server.tables.route("flights")) == (0, None, None)


def test_a_body_that_is_not_what_its_sum_says_changes_nothing(sim: Simulation, server: NameServer) -> None:
    """A sum of 0 means that the broker did not make one."""
    frame = real(4).frame
    (refused,) = frames_in(answer(server, sim, frame.replace(b"OnsTopic", b"OtsTopic")))
    assert refused.code == 1 and (refused.remark or "").startswith("crc32 not match")
    assert server.tables.live == {}
    unchecked = frame.replace(b'"251012111"', b'"000000000"').replace(b"OnsTopic", b"OtsTopic")
    assert frames_in(answer(server, sim, unchecked))[0].code == 0


def test_a_broker_that_asks_whether_its_topics_are_known_is_told_and_counts_as_alive(
    sim: Simulation, server: NameServer
) -> None:
    server.tables.register(told(version=7), None, now_ms=-1)
    fields = {"brokerName": "broker-a", "brokerAddr": BROKER_A, "clusterName": "c", "brokerId": "0"}
    asks = [request(322, ext=fields, body=f'{{"counter":{n},"timestamp":0}}'.encode()) for n in (8, 7)]
    stale, same = frames_in(answer(server, sim, *asks))
    assert (stale.ext_fields, same.ext_fields) == ({"changed": "true"}, {"changed": "false"})
    assert same.body == b'{"counter":7,"timestamp":0}'
    assert server.tables.live[BROKER_A].told_ms == sim.node("namesrv").monotonic_ms()
    other = request(322, ext={**fields, "brokerAddr": "10.9.9.9:1"}, body=b"{}")
    assert frames_in(answer(server, sim, other))[0].ext_fields == {"changed": "true"}


def test_the_whole_table_is_given_to_a_slave_that_asks(sim: Simulation) -> None:
    broker = build_broker(sim.node("broker"), {}, chapter=1)
    connection, transport = connection_by_hand(sim, broker.server.registry)
    connection.data_received(request(21))
    (reply,) = frames_in(transport.written)
    assert reply.ext_fields == {}
    version, table = topics_from_json(json.loads(reply.body))
    assert (version, table) == (broker.topics.data_version, broker.topics.table)


def test_chapter_0_answers_not_supported_to_everything(sim: Simulation) -> None:
    connection, transport = connection_by_hand(sim, BareServer(sim.node("broker")).server.registry)
    connection.data_received(request(310) + request(34) + request(105))
    assert [reply.code for reply in frames_in(transport.written)] == [3, 3, 3]


# ---------------------------------------------------------------- hostile bodies

FIELDS = {
    "brokerName": "broker-a",
    "brokerAddr": BROKER_A,
    "clusterName": "DefaultCluster",
    "haServerAddr": "",
    "brokerId": "0",
}


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (b"\xff", "a registration is not JSON: 'utf-8' codec"),
        (b"[]", "a registration is a list, not an object"),
        (b"[" * 100_000, "a registration is not JSON: "),
        (b'{"topicConfigSerializeWrapper":3}', "topicConfigSerializeWrapper is 3, not an object"),
        (
            b'{"topicConfigSerializeWrapper":{"topicConfigTable":[]}}',
            "topicConfigTable is a list, not an object",
        ),
        (b'{"topicConfigSerializeWrapper":{"topicConfigTable":{"a":"b"}}}', "a is text, not an object"),
        (
            b'{"topicConfigSerializeWrapper":{"topicConfigTable":{"a":{"perm":"x"}}}}',
            "perm is 'x', not a 64-bit integer",
        ),
        (
            b'{"topicConfigSerializeWrapper":{"topicConfigTable":{"a":{"perm":NaN}}}}',
            "a registration is not JSON: NaN is no JSON value",
        ),
        (
            b'{"topicConfigSerializeWrapper":{"topicConfigTable":{"a":{"topicFilterType":"2"}}}}',
            "topicFilterType is '2'; it must be one of SINGLE_TAG, MULTI_TAG",
        ),
    ],
)
def test_a_registration_of_the_wrong_shape_is_answered_with_a_sentence(
    sim: Simulation, server: NameServer, body: bytes, complaint: str
) -> None:
    (reply,) = frames_in(answer(server, sim, request(103, ext=FIELDS, body=body)))
    assert reply.code == 1 and (reply.remark or "").startswith(complaint), reply.remark
    assert server.tables.live == {} and sim.events == []


def test_a_registration_that_lacks_things_is_taken_for_what_it_says(
    sim: Simulation, server: NameServer
) -> None:
    """No body at all, numbers as text, an enum's ordinal: all were sent by some client or other."""
    topic = b'{"perm":"6","topicFilterType":1,"order":"true"}'
    body = b'{"topicConfigSerializeWrapper":{"topicConfigTable":{"t":' + topic + b"}}}"
    replies = answer(server, sim, request(103, ext=FIELDS), request(103, ext=FIELDS, body=body))
    assert [reply.code for reply in frames_in(replies)] == [0, 0]
    assert server.tables.topics == {}, "the version has not changed, so the topics are not looked at"
    body = body.replace(b'{"topicConfigTable"', b'{"dataVersion":{"counter":1},"topicConfigTable"')
    assert frames_in(answer(server, sim, request(103, ext=FIELDS, body=body)))[0].code == 0
    assert server.tables.topics["t"] == {"broker-a": QueueData("broker-a", 16, 16, 6)}


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_no_body_makes_more_than_a_body_error(body: bytes) -> None:
    try:
        assert isinstance(read_object(body, "it"), dict)
    except BodyError as error:
        assert error.response_code == 1 and error.remark.startswith("it is ")


@given(
    st.dictionaries(
        st.integers(-5, 5), st.text("a{},:0123 \\\"'", max_size=8) | st.integers() | st.booleans(), max_size=4
    )
)
def test_keys_without_quotes_read_like_keys_with_them(table: dict[int, object]) -> None:
    """Text that looks like such a key stays text."""
    pairs = [f"{key}:{json.dumps(value)}" for key, value in table.items()]
    assert read_object("{" + ", ".join(pairs) + "}", "it") == {str(key): table[key] for key in table}


names = st.text("abAB01%|-_", min_size=1, max_size=12)
configs = st.builds(
    TopicConfig, names, st.integers(0, 99), st.integers(0, 99), st.integers(0, 7),
    st.sampled_from(["SINGLE_TAG", "MULTI_TAG"]), st.integers(0, 3), st.booleans(),
)  # fmt: skip


@given(st.lists(configs, max_size=5), st.integers(0, 1 << 50), st.integers(0, 1 << 50))
def test_topics_survive_the_way_through_json(topics: list[TopicConfig], timestamp: int, counter: int) -> None:
    table = {topic.topic_name: topic for topic in topics}
    version = DataVersion(timestamp, counter)
    assert topics_from_json(json.loads(json.dumps(topics_to_json(version, table)))) == (version, table)


# ---------------------------------------------------------------- topics


@pytest.mark.parametrize(
    "name", ["", " ", "a b", "a/b", "a.b", "é", "a\n", "\ud800", "x" * 128, "%RETRY%" + "x" * 249]
)
def test_a_name_that_no_topic_can_have_is_refused(name: str) -> None:
    with pytest.raises(MQError, match="topic") as caught:
        check_topic_name(name)
    assert caught.value.response_code == 1


def test_names_that_topics_do_have_are_allowed() -> None:
    for name in ("flights", "%RETRY%CG_x-1", "a|b", "x" * 127, "%DLQ%" + "x" * 250):
        check_topic_name(name)


def broker_of(sim: Simulation, **properties: str) -> Broker:
    return build_broker(sim.node("broker"), properties, chapter=1)


def test_a_fresh_broker_has_the_system_topics_of_4_9(sim: Simulation) -> None:
    found = {name: (each.write_queue_nums, each.perm) for name, each in broker_of(sim).topics.table.items()}
    assert found == {
        "SELF_TEST_TOPIC": (1, 6),
        "TBW102": (8, 7),
        "BenchmarkTest": (1024, 6),
        "DefaultCluster": (16, 7),
        "broker-a": (1, 7),
        "OFFSET_MOVED_EVENT": (1, 6),
        "SCHEDULE_TOPIC_XXXX": (18, 6),
        "DefaultCluster_REPLY_TOPIC": (1, 6),
    }
    traced = broker_of(
        sim, traceTopicEnable="true", autoCreateTopicEnable="false", clusterTopicEnable="false"
    )
    assert "RMQ_SYS_TRACE_TOPIC" in traced.topics.table and "TBW102" not in traced.topics.table
    assert traced.topics.table["DefaultCluster"].perm == 1


def test_a_send_to_an_unknown_topic_makes_it_from_the_template(sim: Simulation) -> None:
    """As many queues as the client wishes, at most those of the template, and without its INHERIT bit."""
    topics = broker_of(sim).topics

    async def sends() -> None:
        assert topics.create_for_send("few", AUTO_CREATE_TOPIC, 4) == TopicConfig("few", 4, 4, 6)
        assert topics.create_for_send("many", AUTO_CREATE_TOPIC, 99) == TopicConfig("many", 8, 8, 6)
        assert topics.create_for_send("few", "nothing", 1) == TopicConfig("few", 4, 4, 6), "it exists by now"
        assert topics.create_for_send("new", "few", 4) is None, "its template has no INHERIT bit"
        assert topics.create_for_send("new", "nothing", 4) is None
        with pytest.raises(MQError, match="letters, digits"):
            topics.create_for_send("n e w", AUTO_CREATE_TOPIC, 4)

    sim.run(sim.on("broker", sends()))
    assert topics.data_version.counter == 2


def test_a_template_that_was_switched_off_is_none_even_if_it_is_still_in_the_file(sim: Simulation) -> None:
    topics = broker_of(sim, autoCreateTopicEnable="false").topics
    topics.decode(broker_of(sim).topics.encode())
    assert topics.table["TBW102"].perm == 7
    assert topics.create_for_send("new", AUTO_CREATE_TOPIC, 4) is None


def test_topics_json_is_laid_out_as_the_real_broker_lays_it_out(sim: Simulation) -> None:
    topics = broker_of(sim).topics
    topics.table = {"OnsTopic": TopicConfig("OnsTopic", 2, 2)}
    topics.data_version = DataVersion(1795369855379, 1)
    assert topics.encode() == (
        '{\n\t"dataVersion":{\n\t\t"counter":1,\n\t\t"timestamp":1795369855379\n\t},\n\t"topicConfigTable":{\n'
        '\t\t"OnsTopic":{\n\t\t\t"order":false,\n\t\t\t"perm":6,\n\t\t\t"readQueueNums":2,\n'
        '\t\t\t"topicFilterType":"SINGLE_TAG",\n\t\t\t"topicName":"OnsTopic",\n\t\t\t"topicSysFlag":0,\n'
        '\t\t\t"writeQueueNums":2\n\t\t}\n\t}\n}'
    )


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"topic": "TBW102"}, "belongs to the broker"),
        ({"topic": "broker-a"}, "belongs to the broker"),
        ({"topic": "rmq_sys_x"}, "belongs to the broker"),
        ({"topic": "a b"}, "letters, digits"),
        ({"writeQueueNums": "65536"}, "0 to 65535 are allowed"),
        ({"readQueueNums": "-1"}, "0 to 65535 are allowed"),
        ({"perm": "16"}, "16 is no permission"),
        ({"perm": "rw"}, "perm is 'rw', not a number"),
        ({"topicFilterType": "NO_TAG"}, "must be one of SINGLE_TAG, MULTI_TAG"),
    ],
)
def test_a_topic_that_cannot_be_is_not_created(
    sim: Simulation, changes: dict[str, str], complaint: str
) -> None:
    broker = broker_of(sim)
    before = dict(broker.topics.table)
    fields = {
        "topic": "flights", "defaultTopic": "TBW102", "readQueueNums": "8", "writeQueueNums": "8",
        "perm": "6", "topicFilterType": "SINGLE_TAG", "topicSysFlag": "0", "order": "false",
    }  # fmt: skip
    connection, transport = connection_by_hand(sim, broker.server.registry)
    frame = request(17, ext={**fields, **changes})
    sim.node("broker").call_soon(lambda: connection.data_received(frame))
    sim.run(asyncio.sleep(1))
    (reply,) = frames_in(transport.written)
    assert reply.code == 1 and complaint in (reply.remark or "")
    assert broker.topics.table == before


# ---------------------------------------------------------------- the shell


class Recorder:
    """A service that says what happened to it, and fails when told to."""

    def __init__(self, log: list[str], name: str, fails: bool = False, masters_only: bool = False) -> None:
        self.log, self.name, self.fails, self.masters_only = log, name, fails, masters_only
        self.sticks = False

    async def start(self) -> None:
        if self.fails:
            raise ValueError(f"{self.name} is broken")
        self.log.append(f"+{self.name}")

    async def stop(self) -> None:
        self.log.append(f"-{self.name}")
        if self.sticks:
            raise ValueError(f"{self.name} sticks")


def test_services_start_in_the_order_of_the_floors_and_stop_in_the_reverse(sim: Simulation) -> None:
    broker, log = broker_of(sim), list[str]()
    broker.services += [Recorder(log, "store"), Recorder(log, "clients")]

    async def life() -> None:
        await broker.start()
        assert broker.server.port == 10911
        with pytest.raises(MQError, match="running already"):
            await broker.start()
        await broker.stop()

    sim.run(sim.on("broker", life()))
    assert log == ["+store", "+clients", "-clients", "-store"]


def test_a_service_that_cannot_stop_keeps_no_other_from_stopping_and_no_table_from_being_written(
    sim: Simulation,
) -> None:
    broker, log = broker_of(sim), list[str]()
    sticky = Recorder(log, "clients")
    sticky.sticks = True
    broker.services += [Recorder(log, "store"), sticky]

    async def life() -> None:
        await broker.start()
        await broker.stop()
        assert log == ["+store", "+clients", "-clients", "-store"]
        assert "topics.json" in broker.node.disk.list("config")
        await broker.start()
        await broker.stop()

    sim.run(sim.on("broker", life()))
    said = [dict(event.fields)["error"] for event in sim.events if event.kind == "not stopped cleanly"]
    assert said == ["ValueError: clients sticks"] * 2


def test_a_start_that_fails_half_way_undoes_itself_and_can_be_tried_again(sim: Simulation) -> None:
    broker, log = broker_of(sim), list[str]()
    broken = Recorder(log, "index", fails=True)
    broker.services += [Recorder(log, "store"), broken]

    async def life() -> None:
        with pytest.raises(MQError, match="broker-a did not start: index is broken"):
            await broker.start()
        assert (log, broker.server.port) == (["+store", "-store"], 0)
        assert broker.node.disk.list("config") == [], "a start that failed writes nothing"
        broken.fails = False
        await broker.start()
        await broker.stop()

    sim.run(sim.on("broker", life()))


def test_a_taken_port_is_one_clear_error_and_leaves_nothing_running(sim: Simulation) -> None:
    node, log = sim.node("broker"), list[str]()
    first, second = broker_of(sim), Broker(node)
    second.services.append(Recorder(log, "store"))

    async def life() -> None:
        taken = await node.listen(10911, asyncio.Protocol)
        with pytest.raises(MQError, match=r"did not start: .*in use"):
            await second.start()
        assert log == ["+store", "-store"]
        taken.close()
        await first.start()
        with pytest.raises(StoreError, match="another broker has this store open"):
            await second.start()
        assert log == ["+store", "-store"], "without the lock nothing is begun"
        await first.stop()
        await second.start()
        await second.stop()

    sim.run(sim.on(node, life()))


def test_a_broker_that_becomes_a_slave_stops_what_only_masters_do(sim: Simulation) -> None:
    broker, log = broker_of(sim), list[str]()
    broker.services += [Recorder(log, "store"), Recorder(log, "delay", masters_only=True)]
    broker.role_changed.append(lambda role: log.append(role.name))

    async def life() -> None:
        await broker.start()
        await broker.become(type(broker.role).SLAVE, 1)
        assert not broker.is_master
        await broker.become(type(broker.role).SYNC_MASTER, 0)
        await broker.stop()

    sim.run(sim.on("broker", life()))
    assert log == ["+store", "+delay", "-delay", "SLAVE", "SYNC_MASTER", "+delay", "-delay", "-store"]


def test_role_and_id_must_agree(sim: Simulation) -> None:
    for properties in ({"brokerRole": "SLAVE"}, {"brokerId": "1"}, {"brokerRole": "SLAVE", "brokerId": "-1"}):
        with pytest.raises(SettingsError, match="a master has id 0, a slave any above"):
            broker_of(sim, **properties)


def test_a_part_is_found_by_its_type_and_a_missing_one_is_named(sim: Simulation) -> None:
    broker, log = broker_of(sim), list[str]()
    part = Recorder(log, "store")
    broker.add(part)
    assert broker.part(Recorder) is part
    with pytest.raises(ValueError, match="has a Recorder already"):
        broker.add(Recorder(log, "other"))
    with pytest.raises(LookupError, match="no RouteTables: the floor that brings it is not plugged"):
        broker.part(RouteTables)


def test_topics_outlive_the_broker(sim: Simulation) -> None:
    async def life(node: SimNode) -> Broker:
        broker = build_broker(node, {}, chapter=1)
        await broker.start()
        return broker

    async def story() -> None:
        broker = await sim.on("broker", life(sim.node("broker")))
        client = RpcClient(sim.node("gate"))
        await sim.on("gate", create_topic(client, broker.address, TopicConfig("flights", 8, 8)))
        sim.kill("broker", "power")
        broker = await sim.on("broker", life(sim.restart("broker")))
        assert broker.topics.find("flights") == TopicConfig("flights", 8, 8)
        assert broker.topics.data_version.counter == 1
        await sim.on("broker", broker.stop())

    sim.run(story())


def test_a_setting_that_no_floor_knows_is_refused_by_its_name(sim: Simulation) -> None:
    with pytest.raises(SettingsError, match="unknown setting 'brokerNam'"):
        broker_of(sim, brokerNam="x")
    with pytest.raises(SettingsError, match="unknown setting 'port'"):
        build_namesrv(sim.node("namesrv"), {"port": "1"})
    for chapter in (-1, 0, LATEST + 1):
        with pytest.raises(SettingsError, match="has no broker"):
            build_broker(sim.node("broker"), {}, chapter)


def test_a_key_of_a_later_chapter_is_known_to_every_chapter(sim: Simulation) -> None:
    """One properties file serves them all."""
    assert broker_of(sim, flushDiskType="SYNC_FLUSH").properties == {"flushDiskType": "SYNC_FLUSH"}


def test_chapter_1_imports_no_later_floor() -> None:
    """In a process of its own: what this one has imported by now says nothing."""
    code = """
import sys
from mq.runtime.real import RealNode
from mq.system import build_broker
build_broker(RealNode("n", "."), {"brokerName": "LGA"}, chapter=1)
print(sorted({name.split(".")[1] for name in sys.modules if name.startswith("mq.")}))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "['routing', 'runtime', 'system', 'wire']\n"


def test_a_client_lists_the_topics_that_its_name_server_knows(sim: Simulation) -> None:
    async def story() -> None:
        server = build_namesrv(sim.node("namesrv"))
        await sim.on("namesrv", server.start())
        server.tables.register(told(TopicConfig("flights")), None, 0)
        instance = ClientInstance(sim.node("gate"), server.address)
        assert await sim.on("gate", list_topics(instance)) == ["flights"]

    sim.run(story())
