"""The real NameServer and broker: our clients against them, one script to both, and each other's files."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from mq.commitlog.message import Message
from tests.interop import codecs, differences, expected, files, ours, real, script
from tests.interop.processes import BUILD, our_broker, running
from tests.interop.report import Report

NAME = f"real NameServer and broker {real.VERSION}"
PAST_THE_CODEC = frozenset({"query by key", "view the first message"})
"""The real broker writes these two together with a file's bytes, past what gives a reply its codec."""

SENT = [
    *[Message("Orders", f"single {n} é 中".encode(), "TagA", f"key{n} all") for n in range(6)],
    Message("Orders", b"bare"),
    Message("Orders", b"property", "TagP", properties={"colour": "blue"}, flag=7),
]
BATCH = [Message("Orders", f"batch {n}".encode(), "TagB", f"b{n}") for n in range(3)]
EXPECTED = sorted(
    [(f"single {n} é 中", "TagA", f"key{n} all") for n in range(6)]
    + [("bare", None, ""), ("property", "TagP", "")]
    + [(f"batch {n}", "TagB", f"b{n}") for n in range(3)]
)


def run(report: Report, scratch: Path) -> None:
    """The real ones first; then ours at the same ports, so that ids and addresses are equal."""
    stores = {"real": scratch / "real", "ours": scratch / "ours"}
    answers: dict[str, dict[str, script.Answer]] = {}
    with report.part(NAME, "our clients against it, and the script"), real.namesrv() as namesrv:
        with real.broker(stores["real"], namesrv):
            answers["real"] = script.play(real.BROKER, namesrv)
            expected.check(report, NAME, answers["real"])
            our_clients(report, namesrv, NAME)
            codecs.check(report, NAME, PAST_THE_CODEC)
        with our_broker(scratch / "visitor", namesrv, port=10921):
            our_clients(report, namesrv, f"real NameServer {real.VERSION}, our broker")
    part = report.part("our NameServer and broker", "the same script")
    with part, our_namesrv(), our_broker(stores["ours"], real.NAMESRV, port=10911):
        answers["ours"] = script.play(real.BROKER, real.NAMESRV)
        our_clients(report, real.NAMESRV, "our NameServer and broker")
        codecs.check(report, "our NameServer and broker")
    with report.part("differential script", "answers compared"):
        compare(report, answers["ours"], answers["real"])
    with report.part("files", "what each of the two wrote"):
        files.compare(report, stores["ours"], stores["real"])
    with report.part("files", "each broker opens the other's store"), our_namesrv():
        files.real_opens_ours(report, stores["ours"], scratch / "copy-of-ours")
        files.ours_opens_real(report, stores["real"], scratch / "copy-of-real")


@contextmanager
def our_namesrv() -> Iterator[str]:
    """Our NameServer at the real one's port, with a store that is new."""
    with TemporaryDirectory(prefix="names-", dir=BUILD) as store:
        command = [sys.executable, "-m", "mq", "namesrv", "--listen", real.NAMESRV, "--store", store]
        with running("our NameServer", command, r"^namesrv ready at (\S+)$") as (_, address):
            yield address


def our_clients(report: Report, namesrv: str, name: str) -> None:
    """Our Producer and PullConsumer, unchanged."""
    results = ours.send_all(namesrv, SENT)
    report.equal(name, "our Producer: 8 sends", {result.status.name for result in results}, {"SEND_OK"})
    result = ours.send_batch(namesrv, BATCH)
    report.equal(name, "our Producer: a batch has three ids", len(result.offset_msg_id.split(",")), 3)
    caught_up(namesrv, "Orders", len(EXPECTED))
    report.equal(
        name, "our PullConsumer gets what was sent", ours.seen(ours.pull_all(namesrv, "Orders")), EXPECTED
    )
    found = ours.seen(ours.pull_all(namesrv, "Orders", "TagB || TagP"))
    report.equal(
        name, "our PullConsumer gets two tags", found, [row for row in EXPECTED if row[1] in ("TagB", "TagP")]
    )
    by_key = ours.seen(ours.query(namesrv, "Orders", "key3"))
    report.equal(name, "our PullConsumer finds by key", by_key, [row for row in EXPECTED if "key3" in row[2]])
    report.equal(name, "our PullConsumer commits an offset", ours.commit_and_ask(namesrv, "Orders"), (2, 2))


def caught_up(namesrv: str, topic: str, count: int) -> None:
    """The real broker builds its queues behind the answers: ask until they are there."""
    for _ in range(100):
        if len(ours.pull_all(namesrv, topic)) >= count and ours.query(namesrv, topic, "b2"):
            return


def compare(report: Report, mine: dict[str, script.Answer], theirs: dict[str, script.Answer]) -> None:
    """One row a step; equal ones are counted only."""
    verdicts: Counter[str] = Counter()
    rows = []
    for name in mine:
        verdict, why = differences.judge(name, mine[name], theirs[name])
        verdicts[verdict] += 1
        if verdict != "equal":
            rows.append(f"  {verdict:<10}  {name:<45}  {why}")
    print("\n".join(rows), flush=True)
    print(f"  {', '.join(f'{count} {verdict}' for verdict, count in sorted(verdicts.items()))}", flush=True)
    faults = [row for row in rows if row.startswith("  fault")]
    check = (
        f"{len(mine)} requests: {verdicts['equal']} answers equal, {verdicts['deliberate']} differ on purpose"
    )
    report.add("differential script", check, "\n".join(faults))
