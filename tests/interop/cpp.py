"""The two official C++ clients: what they send is found by everybody, and they find what ours sends."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

from mq.commitlog.message import Message
from mq.routing.client import ClientInstance
from tests.interop import ours
from tests.interop.install import CPP
from tests.interop.processes import BUILD, our_servers, talk
from tests.interop.report import Report

PEER = Path(__file__).parent / "peers" / "cpp.py"
HOME = BUILD / "home"

EXPECTED = sorted(
    [(f"sync {number}", "TagA", f"key{number} all") for number in range(5)]
    + [("bare", None, "")]
    + [(f"ordered {number}", "TagO", "") for number in range(3)]
    + [("large " + "x" * 10_000, "TagL", "large")]
    + [(f"one-way {number}", "TagB", "") for number in range(4)]
    + [(f"batch {number}", "TagM", f"m{number}") for number in range(3)]
)


def run(report: Report, scratch: Path) -> None:
    """Both clients, each with servers of its own."""
    for name, folder in CPP.items():
        part = report.part(name, "against our NameServer and broker")
        with part, our_servers(scratch / folder) as namesrv:
            check(report, name, folder, namesrv)


def check(report: Report, name: str, folder: str, namesrv: str) -> None:
    """Send with the client, read with both; then the other way round."""
    told = peer(folder, "produce", namesrv, "CppTopic")
    report.equal(name, "9 synchronous and ordered sends: SEND_OK", {row[0] for row in told["results"]}, {0})
    report.equal(name, "a batch, which it marks with 1 and not with true: SEND_OK", told["batched"], 0)
    report.equal(name, "ordered sends: one queue, in a row", _steps(told["results"][6:]), [1, 1])
    report.equal(name, "topic made by the send has 4 queues", queues_of(namesrv, "CppTopic"), 4)
    report.equal(
        name, "our PullConsumer gets what was sent", ours.seen(ours.pull_all(namesrv, "CppTopic")), EXPECTED
    )
    found = ours.seen(ours.pull_all(namesrv, "CppTopic", "TagA || TagB"))
    report.equal(
        name, "our PullConsumer gets two tags", found, [row for row in EXPECTED if row[1] in ("TagA", "TagB")]
    )
    report.equal(name, "query by key", ours.seen(ours.query(namesrv, "CppTopic", "key3")), [EXPECTED_KEY3])
    report.equal(name, "query by a key of five", len(ours.query(namesrv, "CppTopic", "all")), 5)
    pulled = ours.rows_of(peer(folder, "pull", namesrv, "CppTopic", "*")["messages"])
    report.equal(name, "its own pull consumer gets what was sent", pulled, EXPECTED)
    pulled = ours.rows_of(peer(folder, "pull", namesrv, "CppTopic", "TagO || TagL")["messages"])
    report.equal(
        name,
        "its own pull consumer gets two tags",
        pulled,
        [row for row in EXPECTED if row[1] in ("TagO", "TagL")],
    )
    messages = [
        Message("OurTopic", f"ours {number} é 中".encode(), "TagX", f"k{number}") for number in range(8)
    ]
    ours.send_all(namesrv, messages)
    expected = sorted((each.body.decode(), "TagX", f"k{number}") for number, each in enumerate(messages))
    pulled = ours.rows_of(peer(folder, "pull", namesrv, "OurTopic", "*")["messages"])
    report.equal(name, "its pull consumer gets what our Producer sent", pulled, expected)


EXPECTED_KEY3 = ("sync 3", "TagA", "key3 all")


def _steps(results: list[list[int]]) -> list[int]:
    return [after[1] - before[1] for before, after in pairwise(results)]


def queues_of(namesrv: str, topic: str) -> int:
    """How many write queues the route of a topic has."""

    async def work(instance: ClientInstance) -> int:
        return sum(each.write_queue_nums for each in (await instance.routes.find(topic)).queues)

    return ours.with_client(namesrv, work)


def peer(folder: str, *words: str) -> dict[str, Any]:
    """Run the peer script in the client's own environment, at home in a scratch folder."""
    HOME.mkdir(parents=True, exist_ok=True)
    python = BUILD / folder / "bin" / "python"
    return talk([str(python), str(PEER), *words], cwd=HOME, env={"HOME": str(HOME)})
