"""The script: requests that a broker and its NameServer are asked one after the other, well made and not.

Later steps ask about what earlier ones did. Half, delayed and returned messages come near the end: from there
on the log of a broker that knows them is another one.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

from mq.commitlog.batch import encode_batch
from mq.commitlog.message import Message
from mq.routing.bodies import write_json
from mq.wire.codes import RequestCode as Code
from mq.wire.command import RemotingCommand

Fields = dict[str, str]
BORN_MS = 1_357_016_400_000
AT_BROKER, AT_NAMESRV = "broker", "namesrv"


@dataclass(frozen=True)
class Step:
    """One request, and how long to wait before it."""

    name: str
    code: int
    fields: Fields | None = None
    body: bytes = b""
    at: str = AT_BROKER
    pause_s: float = 0.0

    def command(self, serialize_type: int = 0) -> RemotingCommand:
        """A new request."""
        fields = None if self.fields is None else dict(self.fields)
        return RemotingCommand(int(self.code), fields, self.body, serialize_type=serialize_type)


def v2(topic: str, properties: str = "", **changed: str) -> Fields:
    """The header of a SEND_MESSAGE_V2."""
    header = {
        "a": "PG", "b": topic, "c": "TBW102", "d": "4", "e": "0", "f": "0", "g": str(BORN_MS), "h": "0",
        "i": properties, "j": "0", "k": "false", "m": "false",
    }  # fmt: skip
    return {**header, **changed}


def v1(topic: str, properties: str = "") -> Fields:
    """The header of a SEND_MESSAGE."""
    return {
        "producerGroup": "PG", "topic": topic, "defaultTopic": "TBW102", "defaultTopicQueueNums": "4",
        "queueId": "0", "sysFlag": "0", "bornTimestamp": str(BORN_MS), "flag": "5", "properties": properties,
        "reconsumeTimes": "0", "unitMode": "false", "batch": "false",
    }  # fmt: skip


def pull(topic: str, at: int, subscription: str = "*", **changed: str) -> Fields:
    """The header of a PULL_MESSAGE that carries its own subscription and does not wait."""
    header = {
        "consumerGroup": "CG", "topic": topic, "queueId": "0", "queueOffset": str(at), "maxMsgNums": "32",
        "sysFlag": "4", "commitOffset": "0", "suspendTimeoutMillis": "0", "subscription": subscription,
        "subVersion": "0", "expressionType": "TAG",
    }  # fmt: skip
    return {**header, **changed}


def topic_fields(topic: str, queues: str = "2", perm: str = "6", **changed: str) -> Fields:
    """The header of an UPDATE_AND_CREATE_TOPIC."""
    header = {
        "topic": topic, "defaultTopic": "TBW102", "readQueueNums": queues, "writeQueueNums": queues,
        "perm": perm, "topicFilterType": "SINGLE_TAG", "topicSysFlag": "0", "order": "false",
    }  # fmt: skip
    return {**header, **changed}


def queue(topic: str, number: int = 0, **more: str) -> Fields:
    """A topic's queue."""
    return {"topic": topic, "queueId": str(number), **more}


def group(topic: str, number: int = 0, name: str = "CG", **more: str) -> Fields:
    """A group's place in a queue."""
    return {"consumerGroup": name, "topic": topic, "queueId": str(number), **more}


def keys(key: str, topic: str = "Made", limit: str = "32", **more: str) -> Fields:
    """A query by key."""
    whole = {"topic": topic, "key": key, "maxNum": limit, "beginTimestamp": "0"}
    return {**whole, "endTimestamp": str((1 << 63) - 1), **more}


def heartbeat(**more: Any) -> bytes:
    """A client with a producer group and a consumer group."""
    subscription = {
        "classFilterMode": False, "codeSet": [], "expressionType": "TAG", "subString": "*",
        "subVersion": BORN_MS, "tagsSet": [], "topic": "Made",
    }  # fmt: skip
    consumer = {
        "consumeFromWhere": "CONSUME_FROM_LAST_OFFSET", "consumeType": "CONSUME_PASSIVELY",
        "groupName": "CG_beat", "messageModel": "CLUSTERING", "subscriptionDataSet": [subscription],
        "unitMode": False,
    }  # fmt: skip
    beat = {"clientID": "c@1", "consumerDataSet": [consumer], "producerDataSet": [{"groupName": "PG"}]}
    return write_json({**beat, **more})


def broker(address: str, name: str, **more: str) -> Fields:
    """A broker that says who it is."""
    return {"brokerId": "0", "clusterName": "C2", "brokerAddr": address, "brokerName": name, **more}


def registration(address: str, name: str, crc32: str) -> Fields:
    """The header of a REGISTER_BROKER."""
    return broker(address, name, bodyCrc32=crc32, haServerAddr="127.0.0.9:2", compressed="false")


VERSION = {"counter": 1, "timestamp": BORN_MS}
T9 = {
    "order": False, "perm": 6, "readQueueNums": 2, "topicFilterType": "SINGLE_TAG", "topicName": "T9",
    "topicSysFlag": 0, "writeQueueNums": 2,
}  # fmt: skip
REGISTRATION = write_json(
    {
        "filterServerList": [],
        "topicConfigSerializeWrapper": {"dataVersion": VERSION, "topicConfigTable": {"T9": T9}},
    }
)
_VERSION, _TOPIC, _FILTERS = (
    len(part).to_bytes(4, "big") + part for part in (write_json(VERSION), b"T9 2 2 6 SINGLE_TAG", b"[]")
)
PACKED_REGISTRATION = zlib.compress(_VERSION + (1).to_bytes(4, "big") + _TOPIC + _FILTERS)
"""What a broker with `compressedRegister` sends: parts behind their lengths, and the number of topics."""
QUEUE_0 = {"brokerName": "broker-a", "queueId": 0, "topic": "Made"}
LOCK = write_json({"clientId": "c", "consumerGroup": "CG", "mqSet": [QUEUE_0]})
UNLOCK = write_json({"clientId": "c", "consumerGroup": "CG", "mqSet": []})
SEND_BACK = {
    "offset": "0", "group": "CG", "delayLevel": "0", "originMsgId": "x", "originTopic": "Made",
    "unitMode": "false", "maxReconsumeTimes": "16",
}  # fmt: skip
TAG_CHECK = {"expressionType": "TAG", "subString": "*", "topic": "Made"}
CHECK = write_json({"clientId": "c", "group": "CG", "subscriptionData": TAG_CHECK})
BATCH = encode_batch(
    [Message("Made", f"part {n}".encode(), "TagB", f"b{n}", properties={"WAIT": "true"}) for n in range(3)]
)
FOUR_MIB = 4 << 20
P1 = "KEYS\x01k1 both\x02UNIQ_KEY\x017F000001ABCD0001\x02WAIT\x01true\x02TAGS\x01TagA\x02"

STEPS: tuple[Step, ...] = (
    # Topics.
    Step("create a topic", Code.UPDATE_AND_CREATE_TOPIC, topic_fields("Made")),
    Step("create it again with more queues", Code.UPDATE_AND_CREATE_TOPIC, topic_fields("Made", "3")),
    Step("create an ordered topic", Code.UPDATE_AND_CREATE_TOPIC, topic_fields("Ordered", order="true")),
    Step(
        "create a topic that may only be read",
        Code.UPDATE_AND_CREATE_TOPIC,
        topic_fields("ReadOnly", perm="4"),
    ),
    Step(
        "create a topic that may only be written",
        Code.UPDATE_AND_CREATE_TOPIC,
        topic_fields("WriteOnly", perm="2"),
    ),
    Step("create a topic with an illegal name", Code.UPDATE_AND_CREATE_TOPIC, topic_fields("no spaces")),
    Step("create a topic with an empty name", Code.UPDATE_AND_CREATE_TOPIC, topic_fields("")),
    Step("create a topic of 128 characters", Code.UPDATE_AND_CREATE_TOPIC, topic_fields("x" * 128)),
    Step("create a system topic", Code.UPDATE_AND_CREATE_TOPIC, topic_fields("TBW102")),
    Step(
        "create a topic named like the cluster", Code.UPDATE_AND_CREATE_TOPIC, topic_fields("DefaultCluster")
    ),
    Step("create a topic without a name", Code.UPDATE_AND_CREATE_TOPIC, {"perm": "6"}),
    Step(
        "create a topic with a word as a number", Code.UPDATE_AND_CREATE_TOPIC, topic_fields("Word", "many")
    ),
    # Sends.
    Step("send", Code.SEND_MESSAGE_V2, v2("Made", P1), b"first"),
    Step(
        "send under long names",
        Code.SEND_MESSAGE,
        v1("Made", "KEYS\x01k2 both\x02TAGS\x01TagB\x02"),
        b"second",
    ),
    Step("send without properties", Code.SEND_MESSAGE_V2, v2("Made"), b"third"),
    Step("send an empty body", Code.SEND_MESSAGE_V2, v2("Made", "TAGS\x01TagA\x02"), b""),
    Step("send with WAIT false", Code.SEND_MESSAGE_V2, v2("Made", "WAIT\x01false\x02"), b"no wait"),
    Step("send a property without value", Code.SEND_MESSAGE_V2, v2("Made", "a\x01\x02b\x011\x02"), b"hole"),
    Step(
        "send a property twice, and CLUSTER",
        Code.SEND_MESSAGE_V2,
        v2("Made", "a\x011\x02CLUSTER\x01C\x02a\x012"),
        b"twice",
    ),
    Step(
        "send a batch with a property of its own",
        Code.SEND_BATCH_MESSAGE,
        v2("Made", "x\x01y\x02", e="1", m="true"),
        BATCH,
    ),
    Step(
        "send a batch without properties",
        Code.SEND_BATCH_MESSAGE,
        v2("Made", e="1", m="true"),
        encode_batch([Message("Made", b"p")]),
    ),
    Step("send a torn batch", Code.SEND_BATCH_MESSAGE, v2("Made", e="1", m="true"), BATCH[:-3]),
    Step("send an empty batch", Code.SEND_BATCH_MESSAGE, v2("Made", e="1", m="true"), b""),
    Step(
        "send with a flag and a user property",
        Code.SEND_MESSAGE_V2,
        v2("Made", "colour\x01blau é\x02", h="9"),
        b"flag",
    ),
    Step("send a batch", Code.SEND_BATCH_MESSAGE, v2("Made", "WAIT\x01true\x02", m="true"), BATCH),
    Step("send to queue 1", Code.SEND_MESSAGE_V2, v2("Made", e="1"), b"one"),
    Step("send to a queue that is not there", Code.SEND_MESSAGE_V2, v2("Made", e="7"), b"x"),
    Step(
        "send a body that is packed",
        Code.SEND_MESSAGE_V2,
        v2("Made", f="1"),
        bytes.fromhex("789c4bcc2d07000269013c"),
    ),
    Step("send to a topic that is not there", Code.SEND_MESSAGE_V2, v2("Auto"), b"auto"),
    Step("send to it again", Code.SEND_MESSAGE_V2, v2("Auto", e="3"), b"auto again"),
    Step("send to a new topic of 20 queues", Code.SEND_MESSAGE_V2, v2("Wide", d="20"), b"wide"),
    Step("send with an unknown template", Code.SEND_MESSAGE_V2, v2("Nobody", c="NoTemplate"), b"x"),
    Step("send with a template that may not be one", Code.SEND_MESSAGE_V2, v2("Nobody", c="Made"), b"x"),
    Step(
        "send to a retry topic that is not there",
        Code.SEND_MESSAGE_V2,
        v2("%RETRY%CG", c="NoTemplate"),
        b"retry",
    ),
    Step("send to a topic that may only be read", Code.SEND_MESSAGE_V2, v2("ReadOnly"), b"read only"),
    Step("send to a topic with an illegal name", Code.SEND_MESSAGE_V2, v2("no spaces"), b"x"),
    Step("send to a topic of 128 characters", Code.SEND_MESSAGE_V2, v2("y" * 128), b"x"),
    Step("send to a topic without a name", Code.SEND_MESSAGE_V2, v2(""), b"x"),
    Step("send to the schedule topic", Code.SEND_MESSAGE_V2, v2("SCHEDULE_TOPIC_XXXX"), b"x"),
    Step("send to the template topic", Code.SEND_MESSAGE_V2, v2("TBW102"), b"x"),
    Step("send a body of 4 MiB and a byte", Code.SEND_MESSAGE_V2, v2("Made"), b"x" * (FOUR_MIB + 1)),
    Step(
        "send 32,767 bytes of properties",
        Code.SEND_MESSAGE_V2,
        v2("Made", "a\x01" + "x" * 32_764 + "\x02"),
        b"x",
    ),
    Step("send without a topic field", Code.SEND_MESSAGE_V2, {"a": "PG"}, b"x"),
    # Questions.
    Step("maximum", Code.GET_MAX_OFFSET, queue("Made"), pause_s=1.0),
    Step("maximum of an empty queue", Code.GET_MAX_OFFSET, queue("Ordered", 1)),
    Step("maximum of a topic that is not there", Code.GET_MAX_OFFSET, queue("Nowhere")),
    Step("maximum of a queue that is not there", Code.GET_MAX_OFFSET, queue("Made", 99)),
    Step("minimum", Code.GET_MIN_OFFSET, queue("Made")),
    Step("minimum of a topic that is not there", Code.GET_MIN_OFFSET, queue("Nowhere")),
    Step("earliest store time", Code.GET_EARLIEST_MSG_STORETIME, queue("Made")),
    Step("earliest store time of an empty queue", Code.GET_EARLIEST_MSG_STORETIME, queue("Ordered", 1)),
    Step(
        "earliest store time of a topic that is not there", Code.GET_EARLIEST_MSG_STORETIME, queue("Nowhere")
    ),
    Step("search offset before everything", Code.SEARCH_OFFSET_BY_TIMESTAMP, queue("Made", timestamp="0")),
    Step(
        "search offset behind everything",
        Code.SEARCH_OFFSET_BY_TIMESTAMP,
        queue("Made", timestamp=str(1 << 62)),
    ),
    Step(
        "search offset in an empty queue", Code.SEARCH_OFFSET_BY_TIMESTAMP, queue("Ordered", 1, timestamp="0")
    ),
    Step(
        "search offset in a topic that is not there",
        Code.SEARCH_OFFSET_BY_TIMESTAMP,
        queue("Nowhere", timestamp="0"),
    ),
    Step("query by key", Code.QUERY_MESSAGE, keys("k1")),
    Step("query by a key of two", Code.QUERY_MESSAGE, keys("both")),
    Step("query by a key of two, at most one", Code.QUERY_MESSAGE, keys("both", limit="1")),
    Step("query by a key in a batch", Code.QUERY_MESSAGE, keys("b1")),
    Step("query by the client's id", Code.QUERY_MESSAGE, keys("7F000001ABCD0001", _UNIQUE_KEY_QUERY="true")),
    Step("query by a key that nobody has", Code.QUERY_MESSAGE, keys("nobody")),
    Step("query in another topic", Code.QUERY_MESSAGE, keys("k1", "Auto")),
    Step("query before any message", Code.QUERY_MESSAGE, keys("k1", endTimestamp="1000")),
    Step("query for nothing", Code.QUERY_MESSAGE, keys("k1", limit="0")),
    Step("query without a topic", Code.QUERY_MESSAGE, {"key": "k1"}),
    Step("view the first message", Code.VIEW_MESSAGE_BY_ID, {"offset": "0"}),
    Step("view where no message begins", Code.VIEW_MESSAGE_BY_ID, {"offset": "10"}),
    Step("view behind the end", Code.VIEW_MESSAGE_BY_ID, {"offset": "999999"}),
    Step("view in a segment that is not there", Code.VIEW_MESSAGE_BY_ID, {"offset": str(1 << 40)}),
    Step("view at a negative place", Code.VIEW_MESSAGE_BY_ID, {"offset": "-1"}),
    # Pulls.
    Step("pull everything", Code.PULL_MESSAGE, pull("Made", 0)),
    Step("pull queue 1", Code.PULL_MESSAGE, pull("Made", 0, queueId="1")),
    Step("pull two", Code.PULL_MESSAGE, pull("Made", 1, maxMsgNums="2")),
    Step("pull a tag", Code.PULL_MESSAGE, pull("Made", 0, "TagB")),
    Step("pull two tags", Code.PULL_MESSAGE, pull("Made", 0, "TagA || TagB")),
    Step("pull a tag that nobody has", Code.PULL_MESSAGE, pull("Made", 0, "Nobody")),
    Step("pull at the end", Code.PULL_MESSAGE, pull("Made", 11)),
    Step("pull behind the end", Code.PULL_MESSAGE, pull("Made", 100)),
    Step("pull before the beginning", Code.PULL_MESSAGE, pull("Made", -1)),
    Step("pull an empty queue", Code.PULL_MESSAGE, pull("Ordered", 0, queueId="1")),
    Step("pull an empty queue from 5", Code.PULL_MESSAGE, pull("Ordered", 5, queueId="1")),
    Step("pull a queue that is not there", Code.PULL_MESSAGE, pull("Made", 0, queueId="9")),
    Step("pull a topic that is not there", Code.PULL_MESSAGE, pull("Nowhere", 0)),
    Step("pull a topic that may only be written", Code.PULL_MESSAGE, pull("WriteOnly", 0)),
    Step("pull without a subscription", Code.PULL_MESSAGE, pull("Made", 0, sysFlag="0")),
    Step("pull with an empty subscription", Code.PULL_MESSAGE, pull("Made", 0, "")),
    Step("pull with a subscription of separators", Code.PULL_MESSAGE, pull("Made", 0, "||")),
    Step("pull with an unknown expression type", Code.PULL_MESSAGE, pull("Made", 0, expressionType="XPATH")),
    Step("pull with SQL", Code.PULL_MESSAGE, pull("Made", 0, "a > 1", expressionType="SQL92")),
    Step("pull for no group", Code.PULL_MESSAGE, pull("Made", 0, consumerGroup="")),
    Step("pull for a group with an illegal name", Code.PULL_MESSAGE, pull("Made", 0, consumerGroup="a b")),
    Step("pull nothing", Code.PULL_MESSAGE, pull("Made", 0, maxMsgNums="0")),
    Step("pull and commit", Code.PULL_MESSAGE, pull("Made", 0, sysFlag="5", commitOffset="4")),
    Step("what that committed", Code.QUERY_CONSUMER_OFFSET, group("Made")),
    Step("pull without a topic field", Code.PULL_MESSAGE, {"consumerGroup": "CG"}),
    Step("pull the packed body", Code.PULL_MESSAGE, pull("Made", 10)),
    # Offsets.
    Step("offset of a group that never came", Code.QUERY_CONSUMER_OFFSET, group("Made", name="New")),
    Step("offset of a topic that is not there", Code.QUERY_CONSUMER_OFFSET, group("Nowhere", name="New")),
    Step(
        "offset, not set to zero",
        Code.QUERY_CONSUMER_OFFSET,
        group("Made", name="New", setZeroIfNotFound="false"),
    ),
    Step("commit an offset", Code.UPDATE_CONSUMER_OFFSET, group("Made", commitOffset="3")),
    Step("ask for it", Code.QUERY_CONSUMER_OFFSET, group("Made")),
    Step("commit a smaller one", Code.UPDATE_CONSUMER_OFFSET, group("Made", commitOffset="1")),
    Step("ask for the smaller one", Code.QUERY_CONSUMER_OFFSET, group("Made")),
    Step("commit -1", Code.UPDATE_CONSUMER_OFFSET, group("Made", 1, commitOffset="-1")),
    Step("ask after -1", Code.QUERY_CONSUMER_OFFSET, group("Made", 1)),
    Step(
        "commit for a topic that is not there",
        Code.UPDATE_CONSUMER_OFFSET,
        group("Nowhere", commitOffset="5"),
    ),
    Step("ask for that one", Code.QUERY_CONSUMER_OFFSET, group("Nowhere")),
    Step("commit without an offset", Code.UPDATE_CONSUMER_OFFSET, group("Made")),
    # Clients.
    Step("heartbeat", Code.HEART_BEAT, None, heartbeat()),
    Step("heartbeat that is no JSON", Code.HEART_BEAT, None, b"{"),
    Step("heartbeat without a body", Code.HEART_BEAT, None),
    Step("members of a group", Code.GET_CONSUMER_LIST_BY_GROUP, {"consumerGroup": "CG_beat"}),
    Step("members of no group", Code.GET_CONSUMER_LIST_BY_GROUP, {"consumerGroup": "Nobody"}),
    Step(
        "pull by the heartbeat's subscription",
        Code.PULL_MESSAGE,
        pull("Made", 0, consumerGroup="CG_beat", sysFlag="0", subVersion=str(BORN_MS)),
    ),
    Step(
        "unregister",
        Code.UNREGISTER_CLIENT,
        {"clientID": "c@1", "producerGroup": "PG", "consumerGroup": "CG_beat"},
    ),
    Step("unregister somebody unknown", Code.UNREGISTER_CLIENT, {"clientID": "d", "producerGroup": "Q"}),
    Step("unregister without a client", Code.UNREGISTER_CLIENT, {}),
    Step(
        "create a group",
        Code.UPDATE_AND_CREATE_SUBSCRIPTIONGROUP,
        None,
        b'{"groupName":"Made_CG","retryMaxTimes":3}',
    ),
    Step(
        "create a group that may not consume",
        Code.UPDATE_AND_CREATE_SUBSCRIPTIONGROUP,
        None,
        b'{"groupName":"Stopped","consumeEnable":false}',
    ),
    Step("pull for it", Code.PULL_MESSAGE, pull("Made", 0, consumerGroup="Stopped")),
    Step("lock queues", Code.LOCK_BATCH_MQ, None, LOCK),
    Step("unlock queues", Code.UNLOCK_BATCH_MQ, None, UNLOCK),
    Step("send back", Code.CONSUMER_SEND_MSG_BACK, SEND_BACK),
    Step("check a client's SQL", Code.CHECK_CLIENT_CONFIG, None, CHECK),
    # Tables.
    Step(
        "send a half message",
        Code.SEND_MESSAGE_V2,
        v2("Made", "TRAN_MSG\x01true\x02PGROUP\x01PG\x02", f="4"),
        b"half",
    ),
    Step("send a delayed message", Code.SEND_MESSAGE_V2, v2("Made", "DELAY\x0118\x02", e="2"), b"later"),
    Step("all topics", Code.GET_ALL_TOPIC_CONFIG, {}),
    Step("all groups", Code.GET_ALL_SUBSCRIPTIONGROUP_CONFIG, {}),
    Step("all consumer offsets", Code.GET_ALL_CONSUMER_OFFSET, {}),
    Step("all delay offsets", Code.GET_ALL_DELAY_OFFSET, {}),
    Step("positions of a topic", Code.GET_TOPIC_STATS_INFO, {"topic": "Made"}),
    Step("positions of a topic that is not there", Code.GET_TOPIC_STATS_INFO, {"topic": "Nowhere"}),
    Step("how far a group is", Code.GET_CONSUME_STATS, {"consumerGroup": "CG", "topic": "Made"}),
    Step("who reads a topic", Code.QUERY_TOPIC_CONSUME_BY_WHO, {"topic": "Made"}),
    Step("the broker's own topics", Code.GET_SYSTEM_TOPIC_LIST_FROM_BROKER, {}),
    Step("delete a topic", Code.DELETE_TOPIC_IN_BROKER, {"topic": "Wide"}),
    Step("delete a topic that is not there", Code.DELETE_TOPIC_IN_BROKER, {"topic": "Nowhere"}),
    Step("pull from the deleted topic", Code.PULL_MESSAGE, pull("Wide", 0)),
    Step("a code that nobody knows", 9_999, {}),
    Step("a NameServer's request at the broker", Code.GET_ROUTEINFO_BY_TOPIC, {"topic": "Made"}),
    # The NameServer.
    Step("route", Code.GET_ROUTEINFO_BY_TOPIC, {"topic": "Made"}, at=AT_NAMESRV, pause_s=0.5),
    Step("route of a topic made by a send", Code.GET_ROUTEINFO_BY_TOPIC, {"topic": "Auto"}, at=AT_NAMESRV),
    Step("route of the template", Code.GET_ROUTEINFO_BY_TOPIC, {"topic": "TBW102"}, at=AT_NAMESRV),
    Step("route of nothing", Code.GET_ROUTEINFO_BY_TOPIC, {"topic": "Nowhere"}, at=AT_NAMESRV),
    Step("route without a topic", Code.GET_ROUTEINFO_BY_TOPIC, {}, at=AT_NAMESRV),
    Step("names of all topics", Code.GET_ALL_TOPIC_LIST_FROM_NAMESERVER, {}, at=AT_NAMESRV),
    Step("brokers of the cluster", Code.GET_BROKER_CLUSTER_INFO, {}, at=AT_NAMESRV),
    Step(
        "a configuration value that is not there",
        Code.GET_KV_CONFIG,
        {"namespace": "n", "key": "k"},
        at=AT_NAMESRV,
    ),
    Step(
        "put a configuration value",
        Code.PUT_KV_CONFIG,
        {"namespace": "n", "key": "k", "value": "v é"},
        at=AT_NAMESRV,
    ),
    Step("get it", Code.GET_KV_CONFIG, {"namespace": "n", "key": "k"}, at=AT_NAMESRV),
    Step("all of its namespace", Code.GET_KVLIST_BY_NAMESPACE, {"namespace": "n"}, at=AT_NAMESRV),
    Step(
        "all of a namespace that is not there",
        Code.GET_KVLIST_BY_NAMESPACE,
        {"namespace": "m"},
        at=AT_NAMESRV,
    ),
    Step(
        "delete a configuration value",
        Code.DELETE_KV_CONFIG,
        {"namespace": "n", "key": "k"},
        at=AT_NAMESRV,
    ),
    Step("get it afterwards", Code.GET_KV_CONFIG, {"namespace": "n", "key": "k"}, at=AT_NAMESRV),
    Step("topics of the cluster", Code.GET_TOPICS_BY_CLUSTER, {"cluster": "DefaultCluster"}, at=AT_NAMESRV),
    Step("topics of no cluster", Code.GET_TOPICS_BY_CLUSTER, {"cluster": "Nobody"}, at=AT_NAMESRV),
    Step("names that are no user's", Code.GET_SYSTEM_TOPIC_LIST_FROM_NS, {}, at=AT_NAMESRV),
    Step("delete a topic in no cluster", Code.DELETE_TOPIC_IN_NAMESRV, {"topic": "Wide"}, at=AT_NAMESRV),
    Step("route of the deleted topic", Code.GET_ROUTEINFO_BY_TOPIC, {"topic": "Wide"}, at=AT_NAMESRV),
    Step(
        "register a broker with a compressed body",
        Code.REGISTER_BROKER,
        {**registration("127.0.0.9:1", "b9", "0"), "compressed": "true"},
        PACKED_REGISTRATION,
        at=AT_NAMESRV,
    ),
    Step("route of its topic", Code.GET_ROUTEINFO_BY_TOPIC, {"topic": "T9"}, at=AT_NAMESRV),
    Step("take its write permission", Code.WIPE_WRITE_PERM_OF_BROKER, {"brokerName": "b9"}, at=AT_NAMESRV),
    Step("its route without it", Code.GET_ROUTEINFO_BY_TOPIC, {"topic": "T9"}, at=AT_NAMESRV),
    Step("give it back", Code.ADD_WRITE_PERM_OF_BROKER, {"brokerName": "b9"}, at=AT_NAMESRV),
    Step("take it from nobody", Code.WIPE_WRITE_PERM_OF_BROKER, {"brokerName": "b0"}, at=AT_NAMESRV),
    Step("it says goodbye", Code.UNREGISTER_BROKER, broker("127.0.0.9:1", "b9"), at=AT_NAMESRV),
    Step(
        "register a broker",
        Code.REGISTER_BROKER,
        registration("127.0.0.9:1", "b9", "0"),
        REGISTRATION,
        at=AT_NAMESRV,
    ),
    Step("its route", Code.GET_ROUTEINFO_BY_TOPIC, {"topic": "T9"}, at=AT_NAMESRV),
    Step(
        "register with a wrong checksum",
        Code.REGISTER_BROKER,
        registration("127.0.0.9:3", "b8", "5"),
        b"{}",
        at=AT_NAMESRV,
    ),
    Step(
        "has its version changed: no",
        Code.QUERY_DATA_VERSION,
        broker("127.0.0.9:1", "b9"),
        write_json(VERSION),
        at=AT_NAMESRV,
    ),
    Step(
        "has its version changed: yes",
        Code.QUERY_DATA_VERSION,
        broker("127.0.0.9:1", "b9"),
        write_json({**VERSION, "counter": 2}),
        at=AT_NAMESRV,
    ),
    Step(
        "the version of an unknown broker",
        Code.QUERY_DATA_VERSION,
        broker("127.0.0.8:1", "b7"),
        write_json(VERSION),
        at=AT_NAMESRV,
    ),
    Step("unregister a broker", Code.UNREGISTER_BROKER, broker("127.0.0.9:1", "b9"), at=AT_NAMESRV),
    Step("its route afterwards", Code.GET_ROUTEINFO_BY_TOPIC, {"topic": "T9"}, at=AT_NAMESRV),
    Step("unregister an unknown broker", Code.UNREGISTER_BROKER, broker("127.0.0.9:1", "b9"), at=AT_NAMESRV),
    Step("a code that no NameServer knows", 9_999, {}, at=AT_NAMESRV),
)

_CHAPTER_OF_CODE = {
    Code.PULL_MESSAGE: 3, Code.QUERY_MESSAGE: 3, Code.QUERY_CONSUMER_OFFSET: 3,
    Code.UPDATE_CONSUMER_OFFSET: 3,
    Code.SEARCH_OFFSET_BY_TIMESTAMP: 3, Code.GET_MAX_OFFSET: 3, Code.GET_MIN_OFFSET: 3,
    Code.GET_EARLIEST_MSG_STORETIME: 3, Code.GET_TOPIC_STATS_INFO: 3, Code.GET_CONSUME_STATS: 3,
    Code.QUERY_TOPIC_CONSUME_BY_WHO: 3, Code.GET_ALL_CONSUMER_OFFSET: 4, Code.GET_ALL_DELAY_OFFSET: 8,
    Code.GET_CONSUMER_LIST_BY_GROUP: 5, Code.LOCK_BATCH_MQ: 6, Code.UNLOCK_BATCH_MQ: 6,
    Code.CONSUMER_SEND_MSG_BACK: 8, Code.CHECK_CLIENT_CONFIG: 9, Code.SEND_MESSAGE: 2,
    Code.SEND_MESSAGE_V2: 2, Code.SEND_BATCH_MESSAGE: 2, Code.VIEW_MESSAGE_BY_ID: 2, Code.HEART_BEAT: 2,
    Code.UNREGISTER_CLIENT: 2, Code.UPDATE_AND_CREATE_SUBSCRIPTIONGROUP: 2,
    Code.GET_ALL_SUBSCRIPTIONGROUP_CONFIG: 2, 9_999: 0,
}  # fmt: skip
_CHAPTER_OF_STEP = {
    "send a half message": 7, "send a delayed message": 8, "route of a topic made by a send": 2,
    "a NameServer's request at the broker": 0, "pull with SQL": 9, "delete a topic": 2,
    "route of the deleted topic": 2, "delete a topic in no cluster": 2,
}  # fmt: skip


def chapter_of(step: Step) -> int:
    """The chapter whose floors are needed to answer: what the code says, unless the step asks for more."""
    return _CHAPTER_OF_STEP.get(step.name, _CHAPTER_OF_CODE.get(step.code, 1))
