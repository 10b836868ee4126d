"""ali-ons, a client of its own in JavaScript: what it sends is found by ours, and by the C++ client."""

from __future__ import annotations

from pathlib import Path

from mq.commitlog.record import MessageExt
from tests.interop import cpp, ours
from tests.interop.processes import BUILD, our_servers, talk
from tests.interop.report import Report

PEER = Path(__file__).parent / "peers" / "ali_ons.js"
NAME, TOPIC = "ali-ons 3.12.0", "OnsTopic"
EXPECTED = sorted(
    [(f"plain {number} é 中", "TagA", f"key{number} all") for number in range(5)]
    + [("large " + "x" * 10_000, "TagL", "large"), ("bare", "null", "")]  # no tag: this client writes "null"
    + [(f"sharded {number}", "TagS", "") for number in range(2)]
)


def run(report: Report, scratch: Path) -> None:
    """Create the topic, send, read."""
    part = report.part(NAME, "against our NameServer and broker")
    with part, our_servers(scratch / "ali-ons") as namesrv:
        check(report, namesrv)


def check(report: Report, namesrv: str) -> None:
    """Every way of sending that it has."""
    ours.create_topic(namesrv, TOPIC)
    module = BUILD / "ali-ons" / "node_modules" / "ali-ons"
    told = talk(["node", str(PEER), str(module), "produce", namesrv, TOPIC])
    report.equal(NAME, "9 sends: SEND_OK", [row[0] for row in told["results"]], ["SEND_OK"] * 9)
    found = ours.pull_all(namesrv, TOPIC)
    report.equal(NAME, "our PullConsumer gets what was sent", ours.seen(found), EXPECTED)
    report.equal(
        NAME, "the large body travelled packed", sorted(each.sys_flag & 1 for each in found), [0] * 8 + [1]
    )
    shards = {each.queue_id for each in found if each.tags == "TagS"}
    report.equal(NAME, "one sharding key, one queue", len(shards), 1)
    where = sorted((each.msg_id, each.queue_id, each.queue_offset) for each in found)
    report.equal(
        NAME, "its results name each message's place", sorted(_place(row) for row in told["results"]), where
    )
    report.equal(NAME, "query by key", _bodies(ours.query(namesrv, TOPIC, "key3")), ["plain 3 é 中"])
    report.equal(NAME, "query by a key of five", len(ours.query(namesrv, TOPIC, "all")), 5)
    pulled = ours.rows_of(cpp.peer("cpp2", "pull", namesrv, TOPIC, "*")["messages"])
    report.equal(NAME, "the C++ client's pull consumer gets what was sent", pulled, EXPECTED)


def _place(row: list[object]) -> tuple[str, int, int]:
    return str(row[1]), int(str(row[2])), int(str(row[3]))


def _bodies(messages: list[MessageExt]) -> list[str]:
    return [each.body.decode() for each in messages]
