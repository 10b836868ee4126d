"""Promises: which anomaly is forbidden under which flush, replication and fault: one table · core

What always holds: everything is forbidden that no row allows, and a row counts only when its flush policy and
its replication are those of the run and all its faults befell that broker group. So a run with more faults
may show more, and never less.

An acknowledged message may be *lost* only when every copy that was promised is gone: the master's (`MASTERS`)
and the slave's (`SLAVES`). Each of these rows says by which faults a copy goes, and how old what goes with it
can be. What a log loses is its end: nothing that was acknowledged behind a lost message is still there (a
slave's copy may have two kinds of hole, see `mq/sim/judge.py`).

Acknowledged means SEND_OK. FLUSH_DISK_TIMEOUT, FLUSH_SLAVE_TIMEOUT and SLAVE_NOT_AVAILABLE promise nothing,
and SYNC_MASTER acknowledges a copy that the slave has *received*, not one that it has synced.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

ANOMALIES = (
    "lost", "duplicated", "phantom", "skipped", "out of order", "visible before commit",
    "resurrected after rollback", "early", "stale route", "diverged",
)  # fmt: skip
FLUSHES = ("ASYNC_FLUSH", "SYNC_FLUSH")
REPLICATIONS = ("NONE", "ASYNC_MASTER", "SYNC_MASTER")
PAIRS = ("ASYNC_MASTER", "SYNC_MASTER")
OF_A_MACHINE = ("process death", "power death", "disk destroyed", "failed sync", "full disk", "slow disk")
OF_A_SLAVE = tuple(f"slave's {fault}" for fault in OF_A_MACHINE)
HELD_UP = "slave held up"  # a death or a bad disk of either of the two, or the way between them was disturbed
FAULTS = (*OF_A_MACHINE, *OF_A_SLAVE, HELD_UP, "partition", "delay", "reset", "clock jump")
FAULT_OF_KIND = {
    "destroy": "disk destroyed", "fail": "failed sync", "full": "full disk", "readonly": "full disk",
    "slow": "slow disk", "cut": "partition", "delay": "delay", "reset": "reset", "clock": "clock jump",
}  # fmt: skip

# How long a route may name a broker that is gone, in ms: by who believes it and how it went.
SCAN_MS, EXPIRY_MS, POLL_MS, NETWORK_MS = 10_000, 120_000, 30_000, 1_000
ROUTE_TIMEOUT_MS = 3_000
STALE_BOUND_MS = {
    ("nameserver", "reset"): NETWORK_MS,
    ("nameserver", "silence"): EXPIRY_MS + SCAN_MS + NETWORK_MS,
    ("client", "reset"): POLL_MS + ROUTE_TIMEOUT_MS + NETWORK_MS,
    ("client", "silence"): EXPIRY_MS + SCAN_MS + POLL_MS + ROUTE_TIMEOUT_MS + NETWORK_MS,
}

# What nobody waits to be synced is young: a look each 500 ms, a thorough sync each 10 s, and the sync itself.
UNSYNCED_MS = 11_000
LAG_MS = NETWORK_MS  # how far a slave that is not held up lies behind
UNBOUNDED_BY = ("slow disk", "full disk", "failed sync")  # syncs come late, or do not cover what they should

ANY = "any age"
YOUNG = "at most 11 s old"  # at the moment when the copy went
BEHIND = "what the slave was behind"  # LAG_MS before the master's copy went, or since the slave was held up


@dataclass(frozen=True, slots=True)
class Way:
    """How a copy goes. Empty `flushes`, `replications`: under each of them. No faults: without any."""

    flushes: tuple[str, ...]
    replications: tuple[str, ...]
    faults: tuple[str, ...]
    age: str
    because: str

    def holds(self, flush: str, replication: str, faults: Collection[str]) -> bool:
        """Whether the copy can have gone this way in such a run."""
        return (
            (not self.flushes or flush in self.flushes)
            and (not self.replications or replication in self.replications)
            and set(self.faults) <= set(faults)
        )


@dataclass(frozen=True, slots=True)
class Row(Way):
    """What else may happen, in words of ANOMALIES. `age` says nothing here."""

    allowed: tuple[str, ...]


MASTERS = (
    Way(
        ("ASYNC_FLUSH",), (), ("power death",), YOUNG,
        "nobody waited for the disk: the log's end goes with the power",
    ),
    Way((), (), ("disk destroyed",), ANY, "its disk is gone"),
    Way(
        (), (), ("failed sync", "power death"), ANY,
        "Linux calls pages clean that it could not write: what later lies behind them can no longer be read",
    ),
)  # fmt: skip
SLAVES = (
    Way((), ("NONE",), (), ANY, "there is no slave"),
    Way((), ("ASYNC_MASTER",), (), BEHIND, "nobody waited for the slave: it may not have received it"),
    Way(
        (), PAIRS, ("slave's power death",), YOUNG,
        "the slave had received it and not synced it, under either flush policy",
    ),
    Way((), PAIRS, ("slave's disk destroyed",), ANY, "its disk is gone, and a new slave copies no history"),
)  # fmt: skip
ROWS = (
    Row(
        (), (), ("power death",), "",
        "a record is shown once it is written and before it is synced, as in 4.9.8; nobody was promised it",
        ("visible before commit", "skipped"),
    ),
    Row(
        (), (), ("disk destroyed",), "",
        "a record is shown once it is written, before a slave has it",
        ("visible before commit", "skipped"),
    ),
    Row(
        (), PAIRS, ("power death",), "",
        "the slave may have what the master lost; once the master writes on, the two logs differ there",
        ("diverged",),
    ),
    Row(
        (), PAIRS, ("disk destroyed",), "",
        "a master that comes back empty begins its log anew, beside the slave's",
        ("diverged",),
    ),
)  # fmt: skip


def losses(flush: str, replication: str, faults: Iterable[str]) -> list[tuple[Way, Way]]:
    """How an acknowledged message can be lost in such a run: how the master's copy went, and the slave's."""
    faults = frozenset(faults)
    masters = [way for way in MASTERS if way.holds(flush, replication, faults)]
    slaves = [way for way in SLAVES if way.holds(flush, replication, faults)]
    return [(master, slave) for master in masters for slave in slaves]


def allowed(flush: str, replication: str, faults: Iterable[str]) -> tuple[str, ...]:
    """The anomalies that such a run may show, in the order of ANOMALIES."""
    faults = frozenset(faults)
    found = {name for row in ROWS if row.holds(flush, replication, faults) for name in row.allowed}
    if losses(flush, replication, faults):
        found.add("lost")
    return tuple(name for name in ANOMALIES if name in found)


def forbidden(flush: str, replication: str, faults: Iterable[str]) -> tuple[str, ...]:
    """The anomalies that such a run must not show, in the order of ANOMALIES."""
    may = allowed(flush, replication, faults)
    return tuple(name for name in ANOMALIES if name not in may)


def oldest_ms(way: Way, faults: Collection[str]) -> float | None:
    """How old what a copy lost can have been when it went; None: of any age."""
    whose = "slave's " if way in SLAVES else ""
    if way.age != YOUNG or any(f"{whose}{fault}" in faults for fault in UNBOUNDED_BY):
        return None
    return UNSYNCED_MS


def classes(kind: str, values: tuple[str, ...]) -> str:
    """The class of a scenario's fault; empty for one that only ends another."""
    if kind in ("kill", "crash"):
        return "process death" if values[0] == "process" else "power death"
    return FAULT_OF_KIND.get(kind, "")


# ---------------------------------------------------------------- the table as a page shows it

# The fewest faults of a broker group that cost somebody something; a test finds any that is not here.
COSTLY = (
    ("power death",), ("power death", "slave's power death"), ("power death", "slave's disk destroyed"),
    ("disk destroyed",), ("disk destroyed", "slave's power death"),
    ("disk destroyed", "slave's disk destroyed"), ("failed sync", "power death"),
    ("failed sync", "power death", "slave's power death"),
    ("failed sync", "power death", "slave's disk destroyed"),
)  # fmt: skip


def table() -> str:
    """The table in Markdown: what may be lost, a line for each set of faults; then everything else."""
    heads = [f"{flush}, {replication}" for flush in FLUSHES for replication in REPLICATIONS]
    lines = [f"| what befell a broker group | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
    for faults in COSTLY:
        cells = [_cell(flush, name, faults) for flush in FLUSHES for name in REPLICATIONS]
        lines.append(f"| {' + '.join(faults)} | {' | '.join(cells)} |")
    return "\n".join([
        "What may be lost of what was acknowledged: the log's end, and of a slave's copy two kinds of hole "
        "(mq/sim/judge.py). Any other fault costs nothing.",
        "",
        *lines,
        "",
        f"{YOUNG}: of any age when that machine's disk was slow, full or failed a sync.",
        f"{BEHIND}: acknowledged {LAG_MS / 1000:g} s before, or since the slave was held up.",
        "",
        "What else may happen; everything that stands nowhere here is forbidden.",
        "",
        *_others(),
        "",
    ])  # fmt: skip


def _cell(flush: str, replication: str, faults: tuple[str, ...]) -> str:
    if replication == "NONE" and any(fault in OF_A_SLAVE for fault in faults):
        return ""  # there is no slave
    bounds = [_bounds(*pair) for pair in losses(flush, replication, faults)]
    loosest = [one for one in bounds if not any(set(other) < set(one) for other in bounds)]
    return " or ".join(sorted({" and ".join(one) or ANY for one in loosest})) or "nothing"


def _bounds(master: Way, slave: Way) -> tuple[str, ...]:
    """What bounds the age of what is lost: both copies must have gone."""
    return tuple(dict.fromkeys(way.age for way in (master, slave) if way.age != ANY))


def _others() -> list[str]:
    lines = ["| replication | fault | may happen | because |", "|---|---|---|---|"]
    for row in ROWS:
        where = " or ".join(row.replications) or "any"
        what = ", ".join(row.allowed)
        lines.append(f"| {where} | {' + '.join(row.faults)} | {what} | {row.because} |")
    return lines
