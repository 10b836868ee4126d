"""Judge: which of the anomalies of a run its promises forbid · core

What always holds: the table of promises is asked with the faults that befell the broker group in question. A
loss is held against their times, too: both copies must have gone in ways that the table knows, at no greater
age than it says, and nothing that lay behind the lost message may still be there, but for two kinds of hole.
"""

from math import inf

from mq.sim.checkers import Anomaly, examine
from mq.sim.history import History, Sent
from mq.sim.promises import BEHIND, HELD_UP, LAG_MS, Way, allowed, losses, oldest_ms


def judge(history: History) -> list[Anomaly]:
    """Every anomaly that is forbidden, in the order of the vocabulary."""
    return [anomaly for anomaly in examine(history) if not is_allowed(history, anomaly)]


def is_allowed(history: History, anomaly: Anomaly) -> bool:
    """Whether the table of promises allows it, given what befell the broker group that it is about."""
    group = anomaly.queue.split("/")[1] if anomaly.queue else ""
    faults = history.faults_of(group)
    if anomaly.lost is None:
        return anomaly.kind in allowed(history.flush, history.replication, faults)
    return any(
        _went(history, anomaly.lost, group, master, slave)
        for master, slave in losses(history.flush, history.replication, faults)
    )


def _went(history: History, sent: Sent, group: str, master: Way, slave: Way) -> bool:
    """Whether both copies of a message can have gone so, and with them all that lay behind it."""
    return any(
        _fits_slave(history, sent, group, slave, ended_ms)
        and (_may_leave_a_hole(history, sent, group) or not history.survivors_behind(sent, ended_ms))
        for ended_ms in _ends(history, sent, group, master)
    )


def _ends(history: History, sent: Sent, group: str, way: Way) -> list[float]:
    """When a copy can have gone so: since the message was sent, and before it was safe.

    It can go before the answer is told: that may be under way, or wait for the other machine.
    """
    most_ms = oldest_ms(way, history.faults_of(group))
    last_ms = inf if most_ms is None else (sent.told_ms or 0.0) + most_ms
    return [at_ms for at_ms in history.times_of(way.faults[-1], group) if sent.sent_ms <= at_ms <= last_ms]


def _fits_slave(history: History, sent: Sent, group: str, way: Way, ended_ms: float) -> bool:
    """`ended_ms`: when the master's copy went."""
    told_ms = sent.told_ms or 0.0
    if way.age == BEHIND:
        began_ms = min([ended_ms, *history.times_of(HELD_UP, group)])
        return began_ms <= told_ms + LAG_MS
    return not way.faults or bool(_ends(history, sent, group, way))


def _may_leave_a_hole(history: History, sent: Sent, group: str) -> bool:
    """Whether a slave can lack a message and have what lay behind it.

    With an empty disk it begins with its master's last file, and lacks what lay before that. And a loss of
    power can put zeros into a record's properties, where no checksum looks: it says that it has the record,
    so its master never sends it again.
    """
    is_torn = (sent.queue, sent.queue_offset) in history.torn
    torn_by = history.times_of("slave's power death", group) if is_torn else []
    return bool(torn_by or history.times_of("slave's disk destroyed", group))
