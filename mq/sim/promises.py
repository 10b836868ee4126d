"""Promises: which anomaly is forbidden under which flush, replication and fault: one table · core

What always holds: everything is forbidden that no row allows. A row allows something when its flush policy
and its replication are those of the run and all its faults happened; the reason stands beside it. So a run
with more faults may show more, and never less.

Acknowledged means SEND_OK. FLUSH_DISK_TIMEOUT, FLUSH_SLAVE_TIMEOUT and SLAVE_NOT_AVAILABLE promise nothing,
and SYNC_MASTER acknowledges a copy that the slave has *received*, not one that it has synced.
"""

from collections.abc import Iterable
from dataclasses import dataclass

ANOMALIES = (
    "lost", "duplicated", "phantom", "skipped", "out of order", "visible before commit",
    "resurrected after rollback", "early", "stale route", "diverged",
)  # fmt: skip
FLUSHES = ("ASYNC_FLUSH", "SYNC_FLUSH")
REPLICATIONS = ("NONE", "ASYNC_MASTER", "SYNC_MASTER")
FAULTS = (
    "process death", "power death", "power death of both", "disk destroyed", "failed sync", "full disk",
    "slow disk", "partition", "delay", "reset", "clock jump",
)  # fmt: skip
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


# Under ASYNC_FLUSH a loss is young: a look each 500 ms, a thorough sync each 10 s, and the sync itself.
ASYNC_FLUSH_BOUND_MS = 11_000
LATE_ANSWER_MS = 5_000  # so long an answer can be under way when links are slow (a story's worst is 4 s)
UNBOUNDED_BY = ("slow disk", "full disk", "failed sync", "disk destroyed")


@dataclass(frozen=True, slots=True)
class Row:
    """What may happen. Empty `flushes` or `replications`: under each of them."""

    flushes: tuple[str, ...]
    replications: tuple[str, ...]
    faults: tuple[str, ...]
    allowed: tuple[str, ...]
    because: str

    def holds(self, flush: str, replication: str, faults: Iterable[str]) -> bool:
        """Whether this row speaks of such a run."""
        return (
            (not self.flushes or flush in self.flushes)
            and (not self.replications or replication in self.replications)
            and set(self.faults) <= set(faults)
        )


ROWS = (
    Row(
        ("ASYNC_FLUSH",), ("NONE", "ASYNC_MASTER"), ("power death",),
        ("lost", "visible before commit", "skipped"),
        "nobody waited for the disk: the log's end goes with the power, and with it what readers had seen",
    ),
    Row(
        (), ("SYNC_MASTER",), ("power death of both",),
        ("lost", "visible before commit", "skipped"),
        "the slave had received it, and neither of the two had synced it",
    ),
    Row(
        (), ("SYNC_MASTER",), ("disk destroyed", "power death"),
        ("lost", "visible before commit", "skipped"),
        "the slave had received it and not synced it when it lost its power; the master's copy is gone",
    ),
    Row(
        (), (), ("power death",),
        ("visible before commit", "skipped"),
        "a record is shown once it is written and before it is synced, as in 4.9.8; nobody was promised it",
    ),
    Row(
        (), ("ASYNC_MASTER", "SYNC_MASTER"), ("power death",),
        ("diverged",),
        "the slave may have what the master lost; once the master writes on, the two logs differ there",
    ),
    Row(
        (), ("NONE", "ASYNC_MASTER"), ("disk destroyed",),
        ("lost", "visible before commit", "skipped"),
        "the only copy, or the only one that was complete, is gone",
    ),
    Row(
        (), ("ASYNC_MASTER", "SYNC_MASTER"), ("disk destroyed",),
        ("diverged", "skipped", "visible before commit"),
        "a master that comes back empty begins its log anew, beside the slave's",
    ),
    Row(
        (), (), ("failed sync", "power death"),
        ("lost", "visible before commit", "skipped"),
        "Linux calls pages clean that it could not write: what later lies behind them can no longer be read",
    ),
)  # fmt: skip


def allowed(flush: str, replication: str, faults: Iterable[str]) -> tuple[str, ...]:
    """The anomalies that such a run may show, in the order of ANOMALIES."""
    faults = tuple(faults)
    found = {name for row in ROWS if row.holds(flush, replication, faults) for name in row.allowed}
    return tuple(name for name in ANOMALIES if name in found)


def is_bounded(flush: str, faults: Iterable[str]) -> bool:
    """Whether what is lost must be younger than ASYNC_FLUSH_BOUND_MS at the power's end."""
    return flush == "ASYNC_FLUSH" and not set(UNBOUNDED_BY) & set(faults)


def forbidden(flush: str, replication: str, faults: Iterable[str]) -> tuple[str, ...]:
    """The anomalies that such a run must not show, in the order of ANOMALIES."""
    may = allowed(flush, replication, faults)
    return tuple(name for name in ANOMALIES if name not in may)


def classes(kind: str, values: tuple[str, ...]) -> str:
    """The class of a scenario's fault; empty for one that only ends another."""
    if kind in ("kill", "crash"):
        return f"{values[0]} death"
    return FAULT_OF_KIND.get(kind, "")


def table() -> str:
    """The table in Markdown: a line for each flush and replication, a column for each fault that matters."""
    columns = [fault for fault in FAULTS if any(row.faults == (fault,) for row in ROWS)]
    lines = [
        f"| flush | replication | {' | '.join(columns)} | any other fault |",
        "|---" * (len(columns) + 3) + "|",
    ]
    for flush in FLUSHES:
        for replication in REPLICATIONS:
            cells = [_cell(flush, replication, fault) for fault in columns]
            lines.append(f"| {flush} | {replication} | {' | '.join(cells)} | nothing |")
    return "\n".join(["What may happen; everything else is forbidden.", "", *lines, ""])


def _cell(flush: str, replication: str, fault: str) -> str:
    if fault == "power death of both":
        if replication == "NONE":
            return "(there is one)"
        return ", ".join(allowed(flush, replication, [fault, "power death"]))
    return ", ".join(allowed(flush, replication, [fault])) or "nothing"
