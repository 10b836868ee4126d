"""A pair of two kinds: our slave copies the real master, and the real slave copies ours.

Both ways the same: messages are sent to a SYNC_MASTER until its slave is waited for, then the two logs must
be the same bytes, and the slave's tables the master's. Then the master is stopped, and the slave is read.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from mq.commitlog.message import Message
from mq.routing.bodies import read_object
from tests.interop import ours, real
from tests.interop.processes import our_broker, running
from tests.interop.report import Report

OUR_SLAVE = f"our slave of the real master {real.VERSION}"
REAL_SLAVE = f"the real slave {real.VERSION} of our master"
MESSAGES = [Message("Copied", b"%d " % n + b"x" * (n * 37 % 3_000), "TagA", f"key{n}") for n in range(60)]
BODIES = sorted(message.body for message in MESSAGES)
PATIENCE_S = 40
SLAVE_PORT = 10931
TABLES = ("topicConfigTable", "offsetTable", "subscriptionGroupTable")


def run(report: Report, scratch: Path) -> None:
    """Both ways."""
    with report.part(OUR_SLAVE, "follows it, and is read when it has gone"):
        our_slave(report, scratch / "real-master", scratch / "our-slave")
    with report.part(REAL_SLAVE, "follows ours, and is read when it has gone"):
        real_slave(report, scratch / "our-master", scratch / "real-slave")


def our_slave(report: Report, master: Path, slave: Path) -> None:
    """The real NameServer and master, our slave."""
    options = ["--set", "brokerRole=SLAVE", "--set", "brokerId=1"]
    with real.namesrv() as namesrv, real.broker(master, namesrv, brokerRole="SYNC_MASTER") as server:
        ours.create_topic(namesrv, "Copied")
        with our_broker(slave, namesrv, *options, port=SLAVE_PORT):
            check_copy(report, OUR_SLAVE, namesrv, master, slave)
            server.stop()
            check_reading(report, OUR_SLAVE, namesrv)


def real_slave(report: Report, master: Path, slave: Path) -> None:
    """Our NameServer and master, the real slave, which outlives its master."""
    told = {"brokerRole": "SLAVE", "brokerId": "1", "listenPort": str(SLAVE_PORT)}
    options = ["--set", "brokerRole=SYNC_MASTER"]
    names = [sys.executable, "-m", "mq", "namesrv", "--listen", "127.0.0.1:0",
             "--store", str(master.parent / "names")]  # fmt: skip
    ready = r"^namesrv ready at (\S+)$"
    with running("our NameServer", names, ready) as (_, namesrv), ExitStack() as outliving:
        with our_broker(master, namesrv, *options, port=10911):
            ours.create_topic(namesrv, "Copied")
            outliving.enter_context(real.broker(slave, namesrv, **told))
            check_copy(report, REAL_SLAVE, namesrv, master, slave)
        check_reading(report, REAL_SLAVE, namesrv)


def check_copy(report: Report, name: str, namesrv: str, master: Path, slave: Path) -> None:
    """Sends wait for the slave, the logs are equal, the tables are copied."""
    joined = until(lambda: _status(namesrv, b"is it there?") == "SEND_OK")
    report.add(name, "the master waits for its slave, and gets its report", joined)
    results = ours.send_all(namesrv, MESSAGES)
    report.equal(name, "60 sends", {result.status.name for result in results}, {"SEND_OK"})
    ours.pull_all(namesrv, "Copied")  # its heartbeat makes the group
    ours.commit_and_ask(namesrv, "Copied")
    report.add(name, "the logs are the same bytes", until(lambda: log_of(master) == log_of(slave)))
    for table in ("topics", "consumerOffset", "subscriptionGroup"):
        copied = until(lambda table=table: _table(slave, table) == _table(master, table))  # type: ignore[misc]
        report.add(name, f"{table}.json is the master's", copied)


def check_reading(report: Report, name: str, namesrv: str) -> None:
    """The master has gone: our consumer gets everything from the slave, and the group's place."""
    found: list[bytes] = []

    def read() -> bool:
        try:
            found[:] = sorted(
                message.body for message in ours.pull_all(namesrv, "Copied") if message.tags == "TagA"
            )
        except Exception as error:  # noqa: BLE001 - the route may still name the master
            print(f"        not yet: {error}", flush=True)
        return found == BODIES

    report.add(name, "all 60 messages are read from the slave", until(read))
    report.equal(name, "the group goes on where it was", ours.offset_of(namesrv, "Copied"), 2)


def until(what: Callable[[], bool]) -> str:
    """Empty once it is so; else what to report."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if what():
            return ""
        time.sleep(0.2)
    return f"not within {PATIENCE_S} s"


def _status(namesrv: str, body: bytes) -> str:
    try:
        return ours.send_all(namesrv, [Message("Copied", body)])[0].status.name
    except Exception as error:  # noqa: BLE001 - a sender may give up before the master does
        return f"{type(error).__name__}"


def log_of(store: Path) -> bytes:
    """Every byte of a store's log, without the zeros behind its end."""
    folder = store / "commitlog"
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    return b"".join(file.read_bytes() for file in files).rstrip(b"\0")


def _table(store: Path, name: str) -> dict[str, object]:
    """A config file's tables, without what depends on who wrote it and when."""
    file = store / "config" / f"{name}.json"
    told = read_object(file.read_bytes(), name) if file.exists() else {}
    return {key: _without_system(told.get(key)) for key in TABLES if key in told}


def _without_system(table: object) -> object:
    """Each broker has topics of its own besides what its master tells it."""
    if not isinstance(table, dict):
        return table
    return {key: table[key] for key in sorted(table) if "Copied" in key or "CG_ours" in key}
