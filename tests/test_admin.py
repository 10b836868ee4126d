"""What operators ask and change: compressed registrations, keys and values, clusters, topics that go."""

import json
import tracemalloc
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chapters.ch03_consumequeue.test_broker import Rig, with_broker
from mq.clients.groups import SubscriptionGroupManager
from mq.consumequeue.deletion import DeletableQueues
from mq.consumequeue.runtimeinfo import in_words
from mq.routing import registration
from mq.routing.brokeradmin import duration
from mq.routing.client import ClientInstance, create_topic
from mq.routing.kvconfig import MAX_KV_CHARACTERS, ORDER_TOPIC_CONFIG, KVConfig
from mq.routing.namesrv import NameServer
from mq.routing.orderconf import parse_order_conf
from mq.routing.registration import checksum, registration_body
from mq.routing.route import BrokerData, QueueData, TopicRouteData, publish_queues
from mq.routing.topics import DataVersion, TopicConfig
from mq.runtime.errors import MQError, StoreError
from mq.runtime.settings import parse_properties
from mq.sim.simulation import Simulation
from mq.system import build_broker, build_namesrv
from mq.wire.codes import RequestCode as Code
from mq.wire.codes import ResponseCode
from mq.wire.command import RemotingCommand
from tests.wire_rig import connection_by_hand, frames_in, request

FIELDS = {
    "brokerName": "broker-a",
    "brokerAddr": "10.0.0.9:10911",
    "clusterName": "DefaultCluster",
    "haServerAddr": "",
    "brokerId": "0",
}
FLIGHTS = TopicConfig("flights", 4, 4)


@pytest.fixture(name="sim")
def _sim() -> Iterator[Simulation]:
    with Simulation(seed=1) as sim:
        yield sim
        assert sim.failures == []


class Asker:
    """A NameServer, asked over one connection."""

    def __init__(self, sim: Simulation, **properties: str) -> None:
        self.sim = sim
        self.server = build_namesrv(sim.node("namesrv"), properties)

    def __call__(self, code: int, body: bytes = b"", **fields: str) -> RemotingCommand:
        async def ask() -> RemotingCommand:
            connection, transport = connection_by_hand(self.sim, self.server.server.registry)
            connection.data_received(request(code, ext=fields, body=body))
            for _ in range(1_000):
                if transport.written:
                    break
                await self.server.node.sleep_ms(1)
            (reply,) = frames_in(transport.written)
            return reply

        return self.sim.run(self.sim.on("namesrv", ask()))

    def register(self, *topics: TopicConfig, version: int = 1, **fields: str) -> None:
        table = {topic.topic_name: topic for topic in topics}
        body = registration_body(DataVersion(0, version), table, compressed=False)
        assert self(Code.REGISTER_BROKER, body, **{**FIELDS, **fields}).code == 0


@pytest.fixture(name="ask")
def _ask(sim: Simulation) -> Asker:
    return Asker(sim)


# ---------------------------------------------------------------- compressed registrations

names = st.from_regex(r"[%|a-zA-Z0-9_-]{1,20}", fullmatch=True)
configs = st.builds(
    TopicConfig, names, st.integers(0, 99), st.integers(0, 99), st.integers(0, 15),
    st.sampled_from(["SINGLE_TAG", "MULTI_TAG"]),
)  # fmt: skip


@given(st.lists(configs, max_size=8), st.integers(0, 1 << 41), st.integers(0, 1 << 40))
def test_a_compressed_registration_says_what_the_plain_one_says(
    topics: list[TopicConfig], timestamp: int, counter: int
) -> None:
    table, version = {topic.topic_name: topic for topic in topics}, DataVersion(timestamp, counter)
    with Simulation(seed=1) as sim:
        ask = Asker(sim)
        for address, compressed in (("10.0.0.1:1", False), ("10.0.0.2:1", True)):
            body = registration_body(version, table, compressed)
            fields = {"brokerAddr": address, "brokerName": address, "compressed": str(compressed).lower()}
            told = {**FIELDS, **fields, "bodyCrc32": str(checksum(body))}
            assert ask(Code.REGISTER_BROKER, body, **told).code == 0
        plain, packed = ask.server.tables.live.values()
        assert (packed.version, packed.version) == (plain.version, version)
        seen = [
            {topic: queues.get(name) for topic, queues in ask.server.tables.topics.items()}
            for name in ("10.0.0.1:1", "10.0.0.2:1")
        ]
        numbers = [
            {topic: q and (q.read_queue_nums, q.write_queue_nums, q.perm) for topic, q in each.items()}
            for each in seen
        ]
        assert numbers[0] == numbers[1]


def test_the_compressed_form_is_laid_out_as_in_4_9_8() -> None:
    body = registration_body(DataVersion(7, 3), {"T": TopicConfig("T")}, compressed=True)
    assert zlib.decompress(body) == (
        b"\0\0\0\x1b" + b'{"counter":3,"timestamp":7}' + b"\0\0\0\1" + b"\0\0\0\x14T 16 16 6 SINGLE_TAG"
        + b"\0\0\0\2[]"
    )  # fmt: skip


def test_a_broker_that_is_told_to_compress_is_in_the_route_with_all_its_topics(sim: Simulation) -> None:
    server = build_namesrv(sim.node("namesrv"))
    told = {"namesrvAddr": server.address, "compressedRegister": "true"}
    broker = build_broker(sim.node("broker"), told, chapter=1)

    async def life() -> None:
        await sim.on("namesrv", server.start())
        await sim.on("broker", broker.start())

    sim.run(life)
    assert broker.registrar.registration().body[:1] == b"\x78", "zlib's first byte"
    assert list(server.tables.topics) == list(broker.topics.table)


def packed(data: bytes) -> bytes:
    return zlib.compress(data)


ONE_TOPIC = b"\0\0\0\1\0\0\0"
LACKS = "a compressed registration lacks "
VERSION = b"\0\0\0\x1b" + b'{"counter":1,"timestamp":0}'


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (b"{}", "a compressed registration is no zlib stream: "),
        (packed(VERSION)[:-9], "a compressed registration ends in the middle: "),
        (packed(b""), LACKS + "the data version: 4 bytes at 0 of 0"),
        (packed(b"\0\0\0\x09{}"), LACKS + "the data version: 9 bytes at 4 of 6"),
        (packed(b"\xff\xff\xff\xffx"), LACKS + "the data version: -1 bytes at 4 of 5"),
        (packed(b"\0\0\0\2[]"), "the data version is a list, not an object"),
        (packed(VERSION), LACKS + "the number of topics"),
        (packed(VERSION + b"\x7f\xff\xff\xff"), "a compressed registration names 2147483647 topics; 0 to"),
        (packed(VERSION + b"\0\0\0\2\0\0\0\1T"), "b'T' is no topic: five words were expected"),
        (packed(VERSION + ONE_TOPIC + b"\x0eT 1 x 6 SINGLE"), "writeQueueNums is 'x', not a 64-bit integer"),
        (packed(VERSION + ONE_TOPIC + b"\x0eT 1 1 6 DOUBLE"), "topicFilterType is 'DOUBLE'; it must be"),
        (packed(VERSION + ONE_TOPIC + b"\x0fT 1 1 6 MULTI_TAG"), "topicFilterType is 'MULTI_T'; it must be"),
    ],
)  # fmt: skip
def test_a_compressed_registration_of_the_wrong_shape_is_answered_with_a_sentence(
    sim: Simulation, ask: Asker, body: bytes, complaint: str
) -> None:
    refused = ask(Code.REGISTER_BROKER, body, **FIELDS, compressed="true")
    assert refused.code == 1 and (refused.remark or "").startswith(complaint), refused.remark
    assert ask.server.tables.live == {} and not [e for e in sim.events if e.kind == "handler failed"]


def test_a_body_that_would_inflate_without_end_is_refused_before_it_has_done_so(
    ask: Asker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a stream promises is not what it weighs: here 64 MiB in 64 KiB, of which 1 MiB may be made."""
    most = 1 << 20
    monkeypatch.setattr(registration, "MAX_INFLATED_BYTES", most)
    bomb = zlib.compress(bytes(64 << 20), 9)
    tracemalloc.start()
    refused = ask(Code.REGISTER_BROKER, bomb, **FIELDS, compressed="true")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (refused.code, refused.remark) == (
        1,
        f"a compressed registration inflates to more than {most} bytes",
    )
    assert peak < 8 * most, f"{peak:,} bytes were taken to refuse it"


def test_the_sum_is_that_of_the_compressed_bytes(ask: Asker) -> None:
    body = registration_body(DataVersion(0, 1), {"flights": FLIGHTS}, compressed=True)
    fields = {**FIELDS, "compressed": "true"}
    wrong = ask(Code.REGISTER_BROKER, body, **fields, bodyCrc32=str(checksum(zlib.decompress(body))))
    assert wrong.code == 1 and (wrong.remark or "").startswith("crc32 not match")
    assert ask(Code.REGISTER_BROKER, body, **fields, bodyCrc32=str(checksum(body))).code == 0
    assert list(ask.server.tables.topics) == ["flights"]


# ---------------------------------------------------------------- keys and values


def test_a_value_is_put_shown_listed_and_deleted(ask: Asker) -> None:
    put = ask(Code.PUT_KV_CONFIG, namespace="n", key="k", value="v é")
    assert (put.code, put.ext_fields, put.body) == (0, None, b"")
    assert ask(Code.GET_KV_CONFIG, namespace="n", key="k").ext_fields == {"value": "v é"}
    listed = ask(Code.GET_KVLIST_BY_NAMESPACE, namespace="n").body
    assert json.loads(listed) == {"table": {"k": "v é"}}
    assert ask(Code.DELETE_KV_CONFIG, namespace="n", key="k").code == 0
    gone = ask(Code.GET_KV_CONFIG, namespace="n", key="k")
    assert (gone.code, gone.remark) == (22, "No config item, Namespace: n Key: k")
    assert json.loads(ask(Code.GET_KVLIST_BY_NAMESPACE, namespace="n").body) == {"table": {}}


def test_what_was_never_put_is_not_found_and_can_be_deleted(ask: Asker) -> None:
    missing = ask(Code.GET_KVLIST_BY_NAMESPACE, namespace="n")
    assert (missing.code, missing.remark) == (ResponseCode.QUERY_NOT_FOUND, "No config item, Namespace: n")
    assert ask(Code.DELETE_KV_CONFIG, namespace="n", key="k").code == 0
    lacks = ask(Code.PUT_KV_CONFIG, namespace="n", key="k")
    assert (lacks.code, lacks.remark) == (1, "PutHeader lacks value")


@pytest.mark.parametrize("death", ["process", "power"])
def test_a_value_outlives_the_name_server_that_answered(sim: Simulation, death: str) -> None:
    ask = Asker(sim)
    ask(Code.PUT_KV_CONFIG, namespace="n", key="k", value="v")
    sim.kill("namesrv", death)
    again = KVConfig(sim.restart("namesrv"))
    assert again.load() and again.table == {"n": {"k": "v"}}
    assert sim.node("namesrv").disk.list("namesrv") == ["kvConfig.json"]


def test_a_table_that_cannot_be_read_keeps_the_name_server_from_starting(sim: Simulation) -> None:
    server = build_namesrv(sim.node("namesrv"))

    async def life() -> None:
        file = server.node.disk.open("namesrv/kvConfig.json", create=True)
        file.write_at(0, b'{"configTable":{"n":[]}}')
        await server.start()

    with pytest.raises(StoreError, match=r"kvConfig\.json cannot be read"):
        sim.run(sim.on("namesrv", life()))


def test_the_table_of_values_does_not_grow_without_end(ask: Asker) -> None:
    """Replacing a value costs only what it is longer; deleting one makes room."""
    kv, most = ask.server.kv, "v" * (MAX_KV_CHARACTERS - 2)
    kv.put("n", "k", most)
    refused = ask(Code.PUT_KV_CONFIG, namespace="n", key="l", value="")
    assert (refused.code, refused.remark) == (
        1,
        f"n/l has 2 characters more; all keys and values together have {MAX_KV_CHARACTERS}, and at most"
        f" {MAX_KV_CHARACTERS} are kept",
    )
    kv.put("n", "k", most)
    with pytest.raises(MQError, match="has 1 characters more"):
        kv.put("n", "k", most + "v")
    kv.delete("n", "k")
    assert (kv.characters, kv.table) == (0, {"n": {}})


def test_one_value_longer_than_a_header_may_be_costs_its_sender_the_connection(sim: Simulation) -> None:
    ask = Asker(sim)
    connection, transport = connection_by_hand(sim, ask.server.server.registry)
    fields = {"namespace": "n", "key": "k", "value": "v" * 300_000}
    connection.data_received(request(Code.PUT_KV_CONFIG, ext=fields))
    assert transport.closing and not transport.written and ask.server.kv.table == {}


# ---------------------------------------------------------------- ordered topics

ROUTE = TopicRouteData(
    [QueueData("broker-a", 4, 4, 6)], [BrokerData("c", "broker-a", {0: "10.0.0.9:10911"})], "b:1;a:2"
)


def test_a_route_carries_the_queues_that_an_operator_fixed_only_when_told_to(sim: Simulation) -> None:
    asked = {"namespace": ORDER_TOPIC_CONFIG, "key": "flights", "value": "broker-a:2;broker-b:2"}
    for enabled, expected in (("false", None), ("true", "broker-a:2;broker-b:2")):
        ask = Asker(sim, orderMessageEnable=enabled)
        ask.register(FLIGHTS)
        ask(Code.PUT_KV_CONFIG, b"", **asked)
        body = ask(Code.GET_ROUTEINFO_BY_TOPIC, topic="flights").body
        assert json.loads(body).get("orderTopicConf") == expected
        assert TopicRouteData.from_json(body).order_topic_conf == expected
        assert list(json.loads(body)) == sorted(json.loads(body)), "fastjson's order"


def test_a_producer_of_an_ordered_topic_has_the_fixed_queues_whoever_is_alive() -> None:
    found = [(queue.broker_name, queue.queue_id) for queue in publish_queues(ROUTE, "flights")]
    assert found == [("b", 0), ("a", 0), ("a", 1)]


@pytest.mark.parametrize("text", ["", ";", "a", "a:", ":4", "a:x", "a:-1", "a:²"])
def test_a_piece_that_is_no_broker_and_count_is_passed_over(text: str) -> None:
    assert parse_order_conf(text) == []
    assert parse_order_conf(f" b:2 ;{text}; c:99999999") == [("b", 2), ("c", 65_535)]


def test_a_broker_learns_from_the_answer_to_its_registration_which_topics_are_ordered(
    sim: Simulation,
) -> None:
    server = build_namesrv(sim.node("namesrv"))
    broker = build_broker(sim.node("broker"), {"namesrvAddr": server.address}, chapter=1)

    async def ordered(told: dict[str, dict[str, str]]) -> list[str]:
        server.kv.table = told
        broker.registrar.register_soon()
        await server.node.sleep_ms(1_000)
        return [name for name, config in broker.topics.table.items() if config.order]

    async def life() -> None:
        await sim.on("namesrv", server.start())
        await sim.on("broker", broker.start())
        broker.topics.put(TopicConfig("flights", order=True))
        broker.topics.put(TopicConfig("gates"))
        assert await sim.on("broker", ordered({})) == ["flights"], "no namespace says nothing"
        assert await sim.on("broker", ordered({ORDER_TOPIC_CONFIG: {"gates": "broker-a:4"}})) == ["gates"]
        assert await sim.on("broker", ordered({ORDER_TOPIC_CONFIG: {}})) == []

    sim.run(life)


def test_an_answer_to_a_registration_that_is_no_table_is_a_complaint_and_changes_nothing(
    sim: Simulation,
) -> None:
    server = build_namesrv(sim.node("namesrv"))
    broker = build_broker(sim.node("broker"), {"namesrvAddr": server.address}, chapter=1)
    server.server.processors[Code.REGISTER_BROKER] = lambda asked: asked.succeed({}, b'{"table":[]}')

    async def life() -> None:
        await sim.on("namesrv", server.start())
        broker.topics.put(TopicConfig("flights", order=True))
        await sim.on("broker", broker.start())

    sim.run(life)
    (said,) = [event.text() for event in sim.events if event.kind == "answer not read"]
    assert "table is a list, not an object" in said
    found = broker.topics.find("flights")
    assert found is not None and found.order


# ---------------------------------------------------------------- clusters, permissions, topics


def test_cluster_info_names_every_broker_and_every_clusters_brokers(ask: Asker) -> None:
    ask.register(FLIGHTS)
    ask.register(brokerAddr="10.0.0.8:1", brokerId="1")
    ask.register(brokerAddr="10.0.0.7:1", brokerName="broker-b", clusterName="Other")
    assert ask(Code.GET_BROKER_CLUSTER_INFO).body == (
        b'{"brokerAddrTable":{"broker-a":{"brokerAddrs":{"0":"10.0.0.9:10911","1":"10.0.0.8:1"},'
        b'"brokerName":"broker-a","cluster":"DefaultCluster"},"broker-b":{"brokerAddrs":{"0":"10.0.0.7:1"},'
        b'"brokerName":"broker-b","cluster":"Other"}},'
        b'"clusterAddrTable":{"DefaultCluster":["broker-a"],"Other":["broker-b"]}}'
    )


def test_write_permission_is_wiped_for_one_broker_and_comes_back_as_read_and_write(ask: Asker) -> None:
    ask.register(FLIGHTS, TopicConfig("TBW102", 8, 8, 7))
    ask.register(FLIGHTS, brokerAddr="10.0.0.7:1", brokerName="broker-b")

    def perms(name: str) -> dict[str, int]:
        tables = ask.server.tables.topics
        return {topic: queues[name].perm for topic, queues in tables.items() if name in queues}

    assert ask(Code.WIPE_WRITE_PERM_OF_BROKER, brokerName="broker-a").ext_fields == {"wipeTopicCount": "2"}
    assert (perms("broker-a"), perms("broker-b")) == ({"flights": 4, "TBW102": 5}, {"flights": 6})
    ask.register(FLIGHTS)
    assert perms("broker-a")["flights"] == 4, "a registration that brings nothing new changes nothing"
    assert ask(Code.ADD_WRITE_PERM_OF_BROKER, brokerName="broker-a").ext_fields == {"addTopicCount": "2"}
    assert perms("broker-a") == {"flights": 6, "TBW102": 6}
    assert ask(Code.WIPE_WRITE_PERM_OF_BROKER, brokerName="none").ext_fields == {"wipeTopicCount": "0"}
    ask(Code.WIPE_WRITE_PERM_OF_BROKER, brokerName="broker-a")
    ask.register(FLIGHTS, TopicConfig("TBW102", 8, 8, 7), version=2)
    assert perms("broker-a") == {"flights": 6, "TBW102": 7}, "news of its topics is believed"


def test_a_topic_is_deleted_in_one_cluster_or_in_all(ask: Asker) -> None:
    ask.register(FLIGHTS)
    ask.register(FLIGHTS, brokerAddr="10.0.0.7:1", brokerName="broker-b", clusterName="Other")
    ask(Code.DELETE_TOPIC_IN_NAMESRV, topic="flights", clusterName="Other")
    assert list(ask.server.tables.topics["flights"]) == ["broker-a"]
    ask(Code.DELETE_TOPIC_IN_NAMESRV, topic="flights", clusterName="Nobody")
    assert ask(Code.GET_ROUTEINFO_BY_TOPIC, topic="flights").code == 0
    ask(Code.DELETE_TOPIC_IN_NAMESRV, topic="flights")
    assert ask(Code.GET_ROUTEINFO_BY_TOPIC, topic="flights").code == ResponseCode.TOPIC_NOT_EXIST
    assert "flights" not in ask.server.tables.topics, "no table keeps an empty entry"
    assert ask(Code.DELETE_TOPIC_IN_NAMESRV, topic="flights").code == 0


def test_topics_of_a_cluster_and_those_named_after_clusters_and_brokers_are_listed(ask: Asker) -> None:
    assert json.loads(ask(Code.GET_SYSTEM_TOPIC_LIST_FROM_NS).body) == {"topicList": []}
    ask.register(FLIGHTS, TopicConfig("gates"), brokerId="2")
    ask.register(FLIGHTS, TopicConfig("gates"))
    ask.register(TopicConfig("other"), brokerAddr="10.0.0.7:1", brokerName="broker-b", clusterName="Other")
    listed = [ask(Code.GET_TOPICS_BY_CLUSTER, cluster=name).body for name in ("DefaultCluster", "No")]
    assert [json.loads(body)["topicList"] for body in listed] == [["flights", "gates"], []]
    assert json.loads(ask(Code.GET_SYSTEM_TOPIC_LIST_FROM_NS).body) == {
        "brokerAddr": "10.0.0.9:10911",
        "topicList": ["DefaultCluster", "Other", "broker-a", "broker-b"],
    }


def test_a_name_servers_settings_are_lines_that_a_properties_file_can_hold(sim: Simulation) -> None:
    ask = Asker(sim, listenPort="1234", orderMessageEnable="true")
    shown = parse_properties(ask(Code.GET_NAMESRV_CONFIG).body.decode())
    assert (shown["listenPort"], shown["orderMessageEnable"]) == ("1234", "true")
    assert build_namesrv(sim.node("other"), shown).config == ask.server.config


# ---------------------------------------------------------------- the broker's own tables


def table_of(answer: RemotingCommand) -> dict[str, str]:
    assert answer.code == 0
    table: dict[str, str] = json.loads(answer.body)["table"]
    return table


def test_a_broker_tells_what_it_knows_of_itself_and_nothing_else() -> None:
    async def story(rig: Rig) -> None:
        for number in range(5):
            await rig.send(number % 2, b"x" * 100)
        first = table_of(await rig.ask(Code.GET_BROKER_RUNTIME_INFO))
        assert (first["brokerVersion"], first["brokerVersionDesc"]) == ("409", "V4_9_8")
        assert (first["putTps"], first["getTransferedTps"]) == ("  ", "  "), "nothing was measured yet"
        assert (first["putMessageTimesTotal"], first["commitLogMinOffset"]) == ("5", "0")
        assert int(first["commitLogMaxOffset"]) > 500 and first["dispatchBehindBytes"] == "0"
        assert abs(int(first["earliestMessageTimeStamp"]) - rig.broker.node.wall_ms()) < 10_000
        await rig.broker.node.sleep_ms(61_000)
        for _ in range(20):
            await rig.send(0, b"y")
        await rig.broker.node.sleep_ms(10_000)
        later = table_of(await rig.ask(Code.GET_BROKER_RUNTIME_INFO))
        assert later["putTps"] == f"2.0 {20 / 60} "
        assert later["runtime"].startswith("[ 0 days, 0 hours, 1 minutes, 1")

    with_broker(story)


def test_a_broker_of_chapter_1_has_a_smaller_table(sim: Simulation) -> None:
    broker = build_broker(sim.node("broker"), {}, chapter=1)
    connection, transport = connection_by_hand(sim, broker.server.registry)
    connection.data_received(request(Code.GET_BROKER_RUNTIME_INFO))
    table = table_of(frames_in(transport.written)[0])
    assert "runtime" in table and "commitLogMaxOffset" not in table


def test_sizes_and_durations_are_in_rocketmqs_words() -> None:
    assert [in_words(n) for n in (0, 1023, 1024, 1536, 1 << 30)] == [
        "0 B", "1023 B", "1.0 KiB", "1.5 KiB", "1.0 GiB",
    ]  # fmt: skip
    assert duration(90_061_999) == "[ 1 days, 1 hours, 1 minutes, 1 seconds ]"


def test_a_brokers_settings_of_all_its_floors_are_shown_and_none_is_changed() -> None:
    async def story(rig: Rig) -> None:
        answer = await rig.ask(Code.GET_BROKER_CONFIG)
        shown = parse_properties(answer.body.decode())
        assert {"counter", "timestamp"} == set(json.loads((answer.ext_fields or {})["version"]))
        told = {key: shown[key] for key in rig.properties}
        assert told == rig.properties, "what was set is what is shown"
        assert (shown["flushDiskType"], shown["brokerRole"]) == ("ASYNC_FLUSH", "ASYNC_MASTER")
        assert build_broker(rig.sim.node("twin"), shown, chapter=3).config == rig.broker.config
        refused = await rig.ask(Code.UPDATE_BROKER_CONFIG)
        assert refused.code == ResponseCode.NO_PERMISSION
        own = json.loads((await rig.ask(Code.GET_SYSTEM_TOPIC_LIST_FROM_BROKER)).body)["topicList"]
        assert "TBW102" in own and "flights" not in own

    with_broker(story)


# ---------------------------------------------------------------- queues and groups


def object_keyed(body: bytes) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """The rows of a table whose keys are objects, read as fastjson reads them."""
    text = body.decode()
    assert text.endswith("}}"), text
    start, decoder = text.index('"offsetTable":{') + len('"offsetTable":{'), json.JSONDecoder()
    rows = []
    while text[start] != "}":
        key, start = decoder.raw_decode(text, start + (text[start] == ","))
        assert text[start] == ":"
        value, start = decoder.raw_decode(text, start + 1)
        rows.append((key, value))
    return rows


def test_topic_status_shows_each_queue_with_its_ends_and_its_last_message() -> None:
    async def story(rig: Rig) -> None:
        for _ in range(3):
            await rig.send(1, b"x")
        rows = object_keyed((await rig.ask(Code.GET_TOPIC_STATS_INFO, topic="flights")).body)
        assert [key for key, _ in rows] == [
            {"brokerName": "broker-a", "queueId": queue_id, "topic": "flights"} for queue_id in (0, 1)
        ]
        (_, empty), (_, full) = rows
        assert empty == {"lastUpdateTimestamp": 0, "maxOffset": 0, "minOffset": 0}
        assert (full["minOffset"], full["maxOffset"]) == (0, 3)
        assert abs(full["lastUpdateTimestamp"] - rig.broker.node.wall_ms()) < 10_000
        missing = await rig.ask(Code.GET_TOPIC_STATS_INFO, topic="nowhere")
        assert (missing.code, missing.remark) == (ResponseCode.TOPIC_NOT_EXIST, "topic[nowhere] not exist")

    with_broker(story)


def test_consumer_progress_shows_where_the_queue_ends_and_where_the_group_is() -> None:
    async def story(rig: Rig) -> None:
        for _ in range(3):
            await rig.send(1, b"x")
        assert object_keyed((await rig.ask(Code.GET_CONSUME_STATS, consumerGroup="gates")).body) == []
        await rig.consumer.update_offset(rig.queue(1), 2)
        (_, first), (_, second) = object_keyed(
            (await rig.ask(Code.GET_CONSUME_STATS, consumerGroup="gates")).body
        )
        assert first == {"brokerOffset": 0, "consumerOffset": 0, "lastTimestamp": 0}
        assert (second["brokerOffset"], second["consumerOffset"]) == (3, 2) and second["lastTimestamp"] > 0
        other = await rig.ask(Code.GET_CONSUME_STATS, consumerGroup="gates", topic="TBW102")
        assert {key["topic"] for key, _ in object_keyed(other.body)} in ({"TBW102"}, set())

    with_broker(story)


def test_who_consumes_a_topic_are_those_who_are_here_and_those_who_ever_committed() -> None:
    async def story(rig: Rig) -> None:
        await rig.ask(
            Code.UPDATE_CONSUMER_OFFSET, consumerGroup="gone", topic="flights", queueId=0, commitOffset=1
        )
        await rig.ask(
            Code.UPDATE_CONSUMER_OFFSET, consumerGroup="other", topic="gates", queueId=0, commitOffset=1
        )
        await rig.consumer.fetch_queues("flights")
        await rig.instance.heartbeat()
        answer = await rig.ask(Code.QUERY_TOPIC_CONSUME_BY_WHO, topic="flights")
        assert json.loads(answer.body) == {"groupList": ["gates", "gone"]}

    with_broker(story)  # fmt: skip


async def announce(rig: Rig) -> None:
    """The consumer and the producer of the rig say who they are."""
    await rig.consumer.fetch_queues("flights")
    await rig.instance.heartbeat()


def test_members_of_a_group_are_shown_with_where_they_are_and_what_they_want() -> None:
    async def story(rig: Rig) -> None:
        offline = await rig.ask(Code.GET_CONSUMER_CONNECTION_LIST, consumerGroup="gates")
        assert (offline.code, offline.remark) == (206, "the consumer group[gates] not online")
        assert (await rig.ask(Code.GET_PRODUCER_CONNECTION_LIST, producerGroup="airports")).code == 1
        await announce(rig)
        told = json.loads((await rig.ask(Code.GET_CONSUMER_CONNECTION_LIST, consumerGroup="gates")).body)
        (member,) = told["connectionSet"]
        assert member["clientId"] == "client@1" and member["version"] == 409
        assert member["clientAddr"].startswith(rig.instance.node.address + ":")
        assert list(told["subscriptionTable"]) == ["flights"]
        assert (told["consumeType"], told["messageModel"]) == ("CONSUME_ACTIVELY", "CLUSTERING")
        told = json.loads((await rig.ask(Code.GET_PRODUCER_CONNECTION_LIST, producerGroup="airports")).body)
        assert told == {"connectionSet": [member]}

    with_broker(story)


@pytest.mark.parametrize("remove", ["true", "false"])
def test_a_group_is_deleted_with_or_without_what_it_has_committed(remove: str) -> None:
    async def story(rig: Rig) -> None:
        await announce(rig)
        await rig.consumer.update_offset(rig.queue(1), 2)
        groups = rig.broker.part(SubscriptionGroupManager)
        assert "gates" in groups.table
        answer = await rig.ask(Code.DELETE_SUBSCRIPTIONGROUP, groupName="gates", removeOffset=remove)
        assert answer.code == 0 and "gates" not in groups.table
        assert "gates" not in (await read_file(rig, groups.path))
        left = await rig.consumer.query_offset(rig.queue(1), zero_if_young=False)
        assert left == (-1 if remove == "true" else 2)

    with_broker(story)


async def read_file(rig: Rig, path: str) -> str:
    file = rig.broker.node.disk.open(path)
    return file.read_at(0, file.length()).decode()


# ---------------------------------------------------------------- a topic is deleted


async def numbers(rig: Rig, queue_id: int = 1) -> list[bytes]:
    outcome = await rig.consumer.pull(rig.queue(queue_id), "*", 0)
    return [message.body for message in outcome.messages]


def queue_files(rig: Rig) -> list[str]:
    return rig.broker.node.disk.list("consumequeue")


async def make(rig: Rig) -> None:
    await create_topic(rig.instance, rig.broker.address, TopicConfig("flights", 2, 2))


def test_a_deleted_topic_has_no_queues_and_made_again_it_begins_at_0() -> None:
    async def story(rig: Rig) -> None:
        queues = rig.broker.part(DeletableQueues)
        for body in (b"old 0", b"old 1"):
            await rig.send(1, body)
        await queues.flush(thorough=True)
        assert queue_files(rig) == ["flights"]
        assert (await rig.ask(Code.DELETE_TOPIC_IN_BROKER, topic="flights")).code == 0
        assert queue_files(rig) == [] and queues.find("flights", 1) is None
        assert rig.broker.topics.find("flights") is None
        assert (await rig.pull(0, 1)).code == ResponseCode.TOPIC_NOT_EXIST
        await make(rig)
        assert await rig.send(1, b"new") == 0
        assert await numbers(rig) == [b"new"]
        await queues.flush(thorough=True)
        assert queue_files(rig) == ["flights"]

    with_broker(story)


@pytest.mark.parametrize("death", [None, "process", "power"])
def test_what_was_deleted_stays_deleted_whatever_the_broker_dies_of(death: str | None) -> None:
    """Its records are still in the log, and a start after a death reads them again."""

    async def story(rig: Rig) -> None:
        for body in (b"old 0", b"old 1", b"old 2"):
            await rig.send(1, body)
        await rig.ask(Code.DELETE_TOPIC_IN_BROKER, topic="flights")
        await make(rig)
        await rig.send(1, b"new 0")
        await rig.send(1, b"new 1")
        await rig.broker.node.sleep_ms(15_000)  # flushes what is too little for a flush each half second
        await rig.restart(death)
        assert await numbers(rig) == [b"new 0", b"new 1"]
        assert await rig.send(1, b"new 2") == 2
        assert not [event for event in rig.sim.events if event.kind == "queue has a gap"]

    with_broker(story)


def test_a_deleted_topic_that_nobody_makes_again_has_no_queue_after_a_death() -> None:
    async def story(rig: Rig) -> None:
        await rig.send(1, b"old")
        await rig.ask(Code.DELETE_TOPIC_IN_BROKER, topic="flights")
        await rig.restart("process")
        assert rig.broker.part(DeletableQueues).find("flights", 1) is None

    with_broker(story)


def test_a_topic_that_cannot_be_deleted_is_refused_with_a_sentence() -> None:
    async def story(rig: Rig) -> None:
        for topic, sentence in (
            ("TBW102", "topic TBW102 belongs to the broker and cannot be deleted"),
            ("no topic", "topic 'no topic': only letters, digits and % | - _ can stand in a topic's name"),
        ):
            refused = await rig.ask(Code.DELETE_TOPIC_IN_BROKER, topic=topic)
            assert (refused.code, refused.remark) == (1, sentence)
        assert (await rig.ask(Code.DELETE_TOPIC_IN_BROKER, topic="nowhere")).code == 0, "it is gone already"

    with_broker(story)


def test_a_slave_deletes_and_creates_no_topic(sim: Simulation) -> None:
    broker = build_broker(sim.node("broker"), {"brokerRole": "SLAVE", "brokerId": "1"}, chapter=1)

    async def ask(code: int, fields: dict[str, str]) -> RemotingCommand:
        connection, transport = connection_by_hand(sim, broker.server.registry)
        connection.data_received(request(code, ext=fields))
        await broker.node.sleep_ms(100)
        return frames_in(transport.written)[0]

    create = {
        "topic": "flights", "defaultTopic": "TBW102", "readQueueNums": "1", "writeQueueNums": "1",
        "perm": "6", "topicFilterType": "SINGLE_TAG",
    }  # fmt: skip
    for code, fields in (
        (Code.DELETE_TOPIC_IN_BROKER, {"topic": "t"}),
        (Code.UPDATE_AND_CREATE_TOPIC, create),
    ):
        refused = sim.run(sim.on("broker", ask(code, fields)))
        assert refused.code == 1 and (refused.remark or "").startswith("this is a slave, whose topics")
    assert broker.topics.find("flights") is None


def test_who_sends_on_and_on_is_told_to_stop_before_the_topic_is_deleted() -> None:
    """Each round of the deletion finds messages that were sent since: they must not vanish unseen."""

    async def story(rig: Rig) -> None:
        await rig.send(1, b"old")
        queues = rig.broker.part(DeletableQueues)
        real = queues.deleted.persist

        def persist_and_be_sent_to() -> Any:
            rig.sim.node("client").spawn(rig.send(1, b"more"), "send on")
            return rig.broker.node.spawn(wait(real()), "slow")

        async def wait(work: Any) -> None:
            await work
            await rig.broker.node.sleep_ms(50)

        queues.deleted.persist = persist_and_be_sent_to  # type: ignore[method-assign]
        with pytest.raises(MQError, match="flights is made again by those who send to it"):
            await queues.delete_topic("flights")
        assert queues.deleted.table == {} and len(await numbers(rig)) >= 6

    with_broker(story)


def test_queues_of_topics_that_are_in_no_table_are_cleaned_on_request() -> None:
    async def story(rig: Rig) -> None:
        await rig.send(1, b"old")
        del rig.broker.topics.table["flights"]
        assert (await rig.ask(Code.CLEAN_UNUSED_TOPIC)).code == 0
        assert rig.broker.part(DeletableQueues).queues == {}

    with_broker(story)


# ---------------------------------------------------------------- NameServers that fail


def test_a_client_asks_the_next_name_server_when_one_falls_silent_and_stays_there(sim: Simulation) -> None:
    servers = [build_namesrv(sim.node(f"ns{number}")) for number in range(3)]
    addresses = ";".join(server.address for server in servers)
    broker = build_broker(sim.node("broker"), {"namesrvAddr": addresses}, chapter=1)
    instance = ClientInstance(sim.node("client"), addresses)
    asked: list[str] = []

    def noting(server: NameServer) -> None:
        answer = server.route_by_topic

        def note(asking: Any) -> None:
            asked.append(server.node.name)
            answer(asking)

        server.server.processors[Code.GET_ROUTEINFO_BY_TOPIC] = note

    async def life() -> None:
        for server in servers:
            noting(server)
            await sim.on(server.node.name, server.start())
        await sim.on("broker", broker.start())
        await sim.on("client", client())

    async def client() -> None:
        for _ in range(3):
            await instance.routes.refresh("TBW102")
        first = asked[0]
        sim.kill(first, "power")
        begin = instance.node.monotonic_ms()
        await instance.routes.refresh("TBW102")
        assert 3_000 <= instance.node.monotonic_ms() - begin < 3_100, "one timeout, then the next one answers"
        await instance.routes.refresh("TBW102")
        number = int(first[-1])
        assert asked == [first] * 3 + [f"ns{(number + 1) % 3}"] * 2

    sim.run(life)


def test_an_address_that_says_goodbye_in_anothers_name_is_not_believed(ask: Asker) -> None:
    """104 names an address together with its broker's name and id."""
    ask.register(FLIGHTS)
    assert ask(Code.UNREGISTER_BROKER, b"", **{**FIELDS, "brokerName": "broker-b"}).code == 0
    assert ask(Code.GET_ROUTEINFO_BY_TOPIC, topic="flights").code == 0
    assert ask(Code.UNREGISTER_BROKER, b"", **FIELDS).code == 0
    assert ask(Code.GET_ROUTEINFO_BY_TOPIC, topic="flights").code == ResponseCode.TOPIC_NOT_EXIST
