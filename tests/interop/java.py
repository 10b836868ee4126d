"""The official Java clients of two lines, each with both header codecs: sending, asking, pulling."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mq.commitlog.message import Message
from mq.commitlog.record import MessageExt
from tests.interop import ours
from tests.interop.install import CLASSES
from tests.interop.processes import BUILD, our_servers, talk
from tests.interop.report import Report


@dataclass(frozen=True)
class Client:
    """One of the official clients, and how it writes its headers."""

    name: str
    folder: str
    codec: str


CLIENTS = (
    Client("Java client 4.9.8, JSON", "client", "JSON"),
    Client("Java client 4.9.8, binary", "client", "ROCKETMQ"),
    Client("Java client 5.3.3, JSON", "client5", "JSON"),
    Client("Java client 5.3.3, binary", "client5", "ROCKETMQ"),
)
NOT_THERE = {"client": "MQBrokerException", "client5": "MQClientException"}
"""What an unknown place gives: 5.x asks by the client's id as well, and finds nothing."""
HEAP = ["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
HOME = BUILD / "home"
TOPIC = "JavaTopic"
EXPECTED = sorted(
    [(f"single {number} é 中", "TagA", f"key{number} all") for number in range(5)]
    + [("large " + "x" * 10_000, "TagL", "large"), ("bare", None, ""), ("property", "TagP", "")]
    + [(f"batch {number}", "TagB", f"b{number}") for number in range(3)]
    + [(f"asynchronous {number}", "TagC", "") for number in range(4)]
    + [(f"one-way {number}", "TagO", "") for number in range(3)]
    + [("to queue 2", "TagQ", "")]
)


def run(report: Report, scratch: Path) -> None:
    """Each client, with servers of its own."""
    for client in CLIENTS:
        part = report.part(client.name, "against our NameServer and broker")
        with part, our_servers(scratch / f"java-{client.folder}-{client.codec}") as namesrv:
            check(report, client, namesrv)


def peer(client: Client, *words: str) -> dict[str, Any]:
    """Run the Java program, at home in a scratch folder."""
    HOME.mkdir(parents=True, exist_ok=True)
    jars = f"{BUILD / CLASSES[client.folder]}:{BUILD / client.folder / 'lib'}/*"
    options = [*HEAP, f"-Drocketmq.serialize.type={client.codec}", f"-Duser.home={HOME}", "-cp", jars]
    return talk(["java", *options, "Interop", *words], cwd=HOME)


def check(report: Report, client: Client, namesrv: str) -> None:
    """Produce, ask, pull."""
    name = client.name
    sent = peer(client, "produce", namesrv, TOPIC)
    _sending(report, name, sent)
    found = ours.pull_all(namesrv, TOPIC)
    report.equal(name, "our PullConsumer gets what was sent", ours.seen(found), EXPECTED)
    report.equal(name, "a batch lies in a row in one queue", _batch_of(found), [0, 1, 2])
    report.equal(name, "a user property and a flag are kept", _property_of(found), ("blue", 7))
    third = sent["single"][3]
    _answers(report, client, peer(client, "ask", namesrv, TOPIC, third["offsetMsgId"]), third)
    pulled = peer(client, "pull", namesrv, TOPIC, "*")
    report.equal(name, "DefaultMQPullConsumer gets what was sent", ours.rows_of(pulled["messages"]), EXPECTED)
    report.equal(name, "pulls at and past the end", pulled["ends"], ["NO_NEW_MSG", "OFFSET_ILLEGAL"])
    report.equal(name, "offsets are committed and come back", pulled["kept"], True)
    _tags_and_ours(report, client, namesrv)


def _sending(report: Report, name: str, sent: dict[str, Any]) -> None:
    rows = [*sent["single"], sent["property"], sent["batch"], *sent["asynchronous"], sent["chosen"]]
    report.equal(
        name,
        "14 single, batch and asynchronous sends: SEND_OK",
        [row["status"] for row in rows],
        ["SEND_OK"] * 14,
    )
    ids = sent["batch"]["offsetMsgId"].split(","), sent["batch"]["msgId"].split(",")
    report.equal(name, "a batch has three ids of both kinds", [len(each) for each in ids], [3, 3])
    report.equal(name, "topic made by the send has 4 queues", sent["queues"], 4)
    report.equal(name, "a send to a chosen queue", sent["chosen"]["queueId"], 2)
    report.equal(name, "a send to a queue that is not there: code 1", sent["refused"], "code 1")


def _answers(report: Report, client: Client, told: dict[str, Any], sent: dict[str, Any]) -> None:
    name = client.name
    body, queue = "single 3 é 中", told["queues"][str(sent["queueId"])]
    report.equal(name, "viewMessage by offset id", told["viewMessage"]["body"], body)
    report.equal(
        name, "viewMessage where nothing lies", told["viewMessage, unknown place"], NOT_THERE[client.folder]
    )
    report.equal(name, "viewMessage by the client's id", told["byUniqKey"]["body"], body)
    report.equal(name, "queryMessage by key", [row["body"] for row in told["byKey"]], [body])
    report.equal(name, "queryMessage by a key of five", told["byKeyOfFive"], 5)
    report.equal(name, "queryMessage by key and time", told["byKeyAndTime"], 1)
    outside = {told["byKeyAndTime, before"], told["byKeyAndTime, after"]}
    report.equal(name, "queryMessage by key outside its time", outside, {"MQClientException"})
    report.equal(name, "queryMessage that finds nothing", told["byKey, none"], "MQClientException")
    report.equal(
        name, "maxOffset over all queues", sum(each["max"] for each in told["queues"].values()), len(EXPECTED)
    )
    report.equal(name, "minOffset of all queues", {each["min"] for each in told["queues"].values()}, {0})
    in_time = all(
        0 < each["earliest"] <= told["viewMessage"]["storeTime"] + 60_000 for each in told["queues"].values()
    )
    report.equal(name, "earliestMsgStoreTime", in_time, True)
    found = queue["atItsTime"] <= sent["queueOffset"] < queue["max"]
    report.equal(name, "searchOffset at a message's time", found, True)
    ends = {(each["atTheBeginning"], each["atTheEnd"] - each["max"]) for each in told["queues"].values()}
    report.equal(name, "searchOffset before and behind everything", ends, {(0, -1)})
    report.equal(name, "a topic made by the admin tool", (told["created"], told["topics"]), (3, True))
    report.equal(name, "an unknown topic", told["unknown topic"], "MQClientException")
    report.equal(name, "the table of groups", told["all groups"], True)


def _tags_and_ours(report: Report, client: Client, namesrv: str) -> None:
    name = client.name
    pulled = peer(client, "pull", namesrv, TOPIC, "TagB || TagL")
    wanted = [row for row in EXPECTED if row[1] in ("TagB", "TagL")]
    report.equal(name, "DefaultMQPullConsumer gets two tags", ours.rows_of(pulled["messages"]), wanted)
    messages = [
        Message("OurTopic", f"ours {number} é 中".encode(), "TagX", f"k{number}") for number in range(8)
    ]
    ours.send_all(namesrv, messages)
    ours.send_batch(namesrv, [Message("OurTopic", f"in a batch {number}".encode()) for number in range(3)])
    expected: list[tuple[str, str | None, str]]
    expected = [(each.body.decode(), "TagX", f"k{number}") for number, each in enumerate(messages)]
    expected += [(f"in a batch {number}", None, "") for number in range(3)]
    pulled = peer(client, "pull", namesrv, "OurTopic", "*")
    report.equal(name, "it gets what our Producer sent", ours.rows_of(pulled["messages"]), sorted(expected))


def _batch_of(found: list[MessageExt]) -> list[int]:
    batch = [each for each in found if each.tags == "TagB"]
    assert len({each.queue_id for each in batch}) == 1
    return [each.queue_offset - batch[0].queue_offset for each in batch]


def _property_of(found: list[MessageExt]) -> tuple[str | None, int]:
    (one,) = [each for each in found if each.tags == "TagP"]
    return one.properties.get("colour"), one.flag
