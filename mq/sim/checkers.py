"""Checkers: read a history and name what went wrong, in ten words that are the same everywhere · core

What always holds: a checker looks at the history alone. It reports every instance of its anomaly, each with
one sentence that names the message, the place and the moment. Whether that instance was allowed is not its
business: `judge.py` asks the table of promises.

| anomaly | what it means |
|---|---|
| lost | acknowledged, and on no disk in the end |
| duplicated | sent once, and there twice |
| phantom | there, and never sent so |
| skipped | a reader went past it and never saw it |
| out of order | a queue shows it before one that was there earlier |
| visible before commit | somebody saw what was not decided yet, or what then vanished |
| resurrected after rollback | somebody saw what had been taken back, or what was gone is there again |
| early | seen before its time |
| stale route | somebody believes in a broker that has been gone for too long |
| diverged | two places that must agree do not |
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

from mq.sim.history import History, Read, Record, Sent, View
from mq.sim.promises import ANOMALIES, STALE_BOUND_MS


@dataclass(frozen=True, slots=True)
class Anomaly:
    """One instance: its name, a sentence, the queue that it is about, and what was lost, if any."""

    kind: str
    sentence: str
    queue: str = ""
    lost: Sent | None = None

    def __str__(self) -> str:
        return f"{self.kind}: {self.sentence}"


class Finding(NamedTuple):
    """What a checker yields: the queue that it is about, or "", and a sentence."""

    queue: str
    sentence: str


Checker = Callable[[History], Iterator[Finding]]


# ---------------------------------------------------------------- what lies there


def lost(history: History) -> Iterator[Finding]:
    """Acknowledged, and on no disk in the end."""
    disks = ", ".join(history.last_disks()) or "none at all"
    for sent in history.missing() if history.disks else []:
        told = f"was acknowledged at {sent.told_ms:.0f} ms"
        yield Finding(sent.queue, f"{sent} {told} and lies on no disk (looked at: {disks})")


def duplicated(history: History) -> Iterator[Finding]:
    """Sent once, and there twice: on a disk, or shown to a reader who had not gone back."""
    for disk in history.last_disks().values():
        found: dict[str, Record] = {}
        for record in disk.records:
            first = found.setdefault(record.key, record)
            if first is not record and not _may_repeat(history, record):
                places = f"at {first.position} and at {record.position}"
                what = f"message {record.key} was sent once and lies on the disk of {disk.name} {places}"
                yield Finding(record.queue, what)
    for reads in _stretches(history):
        seen: dict[str, Record] = {}
        for read, record in _records(reads):
            first = seen.setdefault(record.key, record)
            if first is not record and not _may_repeat(history, record):
                yield Finding(
                    record.queue,
                    f"reader {read.reader} was shown message {record.key} twice in {record.queue}, the "
                    f"second time at {read.at_ms:.0f} ms between {read.begin} and {read.end}",
                )


def _may_repeat(history: History, record: Record) -> bool:
    sent = history.sent.get(record.key)
    return sent is not None and sent.may_repeat


def phantom(history: History) -> Iterator[Finding]:
    """There, and never sent so."""
    for disk in history.last_disks().values():
        for record in disk.records:
            if why := _why_strange(history, record):
                yield Finding(record.queue, f"the disk of {disk.name} holds {_shown(record)}, {why}")
    for read in history.reads:
        for record in read.records:
            if why := _why_strange(history, record):
                when = f"at {read.at_ms:.0f} ms"
                yield Finding(record.queue, f"reader {read.reader} was shown {_shown(record)} {when}, {why}")


def _why_strange(history: History, record: Record) -> str:
    sent = history.sent.get(record.key)
    if sent is None:
        return "and nobody sent it"
    return "and it was sent with another body" if sent.body != record.body else ""


def _shown(record: Record) -> str:
    return f"message {record.key or '(without a key)'} in {record.queue} @{record.queue_offset}"


# ---------------------------------------------------------------- what readers saw


def skipped(history: History) -> Iterator[Finding]:
    """A reader's answers cover its place, and it was in none of them."""
    lying: dict[str, list[Record]] = {}
    for disk in history.last_disks().values():
        for record in disk.records:
            lying.setdefault(record.queue, []).append(record)
    for (reader, queue), reads in _by_reader(history).items():
        seen = {record.key for read in reads for record in read.records}
        covered = _merged([(read.begin, read.end) for read in reads if read.end > read.begin])
        told = set()
        for record in lying.get(queue, []):
            inside = any(begin <= record.queue_offset < end for begin, end in covered)
            if inside and record.key not in seen and record.key not in told:
                told.add(record.key)
                yield Finding(
                    queue,
                    f"reader {reader} went past {queue} @{record.queue_offset} and never saw message "
                    f"{record.key}, which lies there",
                )


def _merged(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for begin, end in sorted(spans):
        if merged and begin <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((begin, end))
    return merged


def out_of_order(history: History) -> Iterator[Finding]:
    """A reader saw a later one first; or one that was sent after another's acknowledgement lies before it."""
    kept = history.kept()
    for reads in _stretches(history):
        last: Record | None = None
        for read, record in _records(reads):
            if kept and record.key not in kept:
                continue  # it has vanished since: its place may have been given to another
            if last is not None and not _share_a_disk(kept, record.key, last.key):
                last = None  # of two logs that have diverged: neither lies before the other
            if last is not None and record.key != last.key and _is_before(record, last):
                yield Finding(
                    record.queue,
                    f"reader {read.reader} was shown message {record.key} ({record.queue} "
                    f"@{record.queue_offset}) after message {last.key} (@{last.queue_offset})",
                )
            last = record
    yield from _overtaken(history)


def _share_a_disk(kept: dict[str, list[tuple[str, Record]]], one: str, other: str) -> bool:
    names = {name for name, _ in kept.get(one, ())}
    return not kept or any(name in names for name, _ in kept.get(other, ()))


def _is_before(record: Record, other: Record) -> bool:
    if min(record.position, other.position) >= 0 and record.position < other.position:
        return True
    return record.queue_offset < other.queue_offset


def _overtaken(history: History) -> Iterator[Finding]:
    """Who was sent when another had been acknowledged must lie behind it in their queue."""
    for disk in history.last_disks().values():
        queues: dict[str, list[tuple[int, Sent]]] = {}
        for record in disk.records:
            sent = history.sent.get(record.key)
            if sent is not None and not sent.may_repeat:
                queues.setdefault(record.queue, []).append((record.queue_offset, sent))
        for queue, placed in queues.items():
            placed.sort(key=lambda place: place[0])
            latest: Sent | None = None  # of those in front, the one that was sent last
            for queue_offset, sent in placed:
                if sent.is_acknowledged and latest is not None and (sent.told_ms or 0.0) < latest.sent_ms:
                    yield Finding(
                        queue,
                        f"{queue} on {disk.name} has {sent} at {queue_offset}, behind message {latest.key}, "
                        f"which was sent at {latest.sent_ms:.0f} ms, after the other's acknowledgement at "
                        f"{sent.told_ms:.0f} ms",
                    )
                if latest is None or sent.sent_ms > latest.sent_ms:
                    latest = sent


def visible_before_commit(history: History) -> Iterator[Finding]:
    """Seen before its transaction was committed, or seen and then gone."""
    kept = history.kept()
    for read, record, sent in _seen(history):
        undecided = sent.decided_ms is None or read.at_ms < sent.decided_ms
        if sent.is_half and undecided:
            when = f"at {read.at_ms:.0f} ms"
            yield Finding(record.queue, f"reader {read.reader} saw {sent} {when}, before it was committed")
        elif history.disks and record.key not in kept:
            yield Finding(
                record.queue,
                f"reader {read.reader} saw {sent} at {read.at_ms:.0f} ms, and it lies on no disk in the end: "
                "it was shown before it was safe",
            )


def resurrected_after_rollback(history: History) -> Iterator[Finding]:
    """Seen after its rollback; or a disk had lost it, and has it again."""
    for read, _, sent in _seen(history):
        if sent.decision == "rollback" and read.at_ms >= (sent.decided_ms or 0.0):
            yield Finding(
                sent.queue,
                f"reader {read.reader} saw {sent} at {read.at_ms:.0f} ms, and it was rolled back at "
                f"{sent.decided_ms:.0f} ms",
            )
    last = history.last_disks()
    for disk in history.disks:
        there = {record.key for record in disk.records}
        again = [record for record in last[disk.name].records if record.key not in there]
        for sent in [history.sent[record.key] for record in again if record.key in history.sent]:
            if sent.is_acknowledged and (sent.told_ms or 0.0) < disk.at_ms:
                yield Finding(
                    sent.queue,
                    f"{sent} was acknowledged at {sent.told_ms:.0f} ms, was gone from the disk of "
                    f"{disk.name} at {disk.at_ms:.0f} ms, and is there again",
                )


def early(history: History) -> Iterator[Finding]:
    """Seen before its time."""
    for read, _, sent in _seen(history):
        if sent.not_before_ms is not None and read.at_ms < sent.not_before_ms:
            by_ms = sent.not_before_ms - read.at_ms
            when = f"at {read.at_ms:.0f} ms"
            yield Finding(
                sent.queue, f"reader {read.reader} saw {sent} {when}, {by_ms:.0f} ms before its time"
            )


# ---------------------------------------------------------------- what does not agree


def diverged(history: History) -> Iterator[Finding]:
    """A sender's answer and the log; two copies of one queue; a log that cannot be read to its end."""
    places: dict[tuple[str, int], tuple[str, str]] = {}
    for disk in history.last_disks().values():
        if disk.trouble:
            yield Finding("", f"the log of {disk.name} cannot be read to its end: {disk.trouble}")
        for record in disk.records:
            place = record.queue, record.queue_offset
            other, key = places.setdefault(place, (disk.name, record.key))
            if key != record.key:
                what = f"{place[0]} @{place[1]} is {key} on {other} and {record.key} on {disk.name}"
                yield Finding(record.queue, what)
            sent = history.sent.get(record.key)
            if sent is None or not sent.is_acknowledged or sent.may_repeat:
                continue
            if (sent.queue, sent.queue_offset) != place:
                where = f"in {place[0]} @{place[1]}"
                yield Finding(
                    record.queue, f"{sent} lies on {disk.name} {where}; its sender was told otherwise"
                )


def stale_route(history: History) -> Iterator[Finding]:
    """Somebody believed in a broker for longer than the ways of forgetting can take."""
    for view, until_ms in _believed(history):
        for absence in history.absences:
            if absence.machine not in view.brokers:
                continue
            bound_ms = STALE_BOUND_MS[view.kind, absence.how]
            from_ms = max(absence.from_ms, view.at_ms, _last_deaf_ms(history, view, until_ms))
            end_ms = until_ms if absence.to_ms is None else min(until_ms, absence.to_ms)
            if end_ms - from_ms > bound_ms:
                yield Finding(
                    "",
                    f"{view.kind} {view.who} still believed in {absence.machine} at {end_ms / 1000:.1f} s; "
                    f"it had gone at {absence.from_ms / 1000:.1f} s ({absence.how}), and "
                    f"{bound_ms / 1000:.0f} s are enough to learn of it",
                )


def _believed(history: History) -> Iterator[tuple[View, float]]:
    """Each view and when it ended."""
    for number, view in enumerate(history.views):
        later = [each.at_ms for each in history.views[number + 1 :] if each.who == view.who]
        yield view, min(later, default=history.ended_ms)


def _last_deaf_ms(history: History, view: View, until_ms: float) -> float:
    """A client that reaches no NameServer, or has none that lives, can learn nothing: count from then on."""
    if view.kind != "client":
        return 0.0
    deaf = [each for each in history.absences if each.machine in (view.who, *history.nameservers)]
    ends = [until_ms if each.to_ms is None else each.to_ms for each in deaf if each.from_ms < until_ms]
    return max(ends, default=0.0)


# ---------------------------------------------------------------- all of them

CHECKERS: dict[str, Checker] = {
    "lost": lost,
    "duplicated": duplicated,
    "phantom": phantom,
    "skipped": skipped,
    "out of order": out_of_order,
    "visible before commit": visible_before_commit,
    "resurrected after rollback": resurrected_after_rollback,
    "early": early,
    "stale route": stale_route,
    "diverged": diverged,
}


def examine(history: History) -> list[Anomaly]:
    """Every anomaly, allowed or not, in the order of the vocabulary."""
    found = [Anomaly(kind, what, queue) for kind in ANOMALIES for queue, what in CHECKERS[kind](history)]
    missing = iter(history.missing())  # the checker of losses names them in this order
    return [replace(each, lost=next(missing)) if each.kind == "lost" else each for each in found]


def _by_reader(history: History) -> dict[tuple[str, str], list[Read]]:
    found: dict[tuple[str, str], list[Read]] = {}
    for read in history.reads:
        found.setdefault((read.reader, read.queue), []).append(read)
    return found


def _stretches(history: History) -> Iterator[list[Read]]:
    """The answers to one reader in one queue, cut where it was moved."""
    for reads in _by_reader(history).values():
        for stretch in dict.fromkeys(read.stretch for read in reads):
            yield [read for read in reads if read.stretch == stretch]


def _records(reads: list[Read]) -> Iterator[tuple[Read, Record]]:
    for read in reads:
        for record in read.records:
            yield read, record


def _seen(history: History) -> Iterator[tuple[Read, Record, Sent]]:
    for read, record in _records(history.reads):
        if (sent := history.sent.get(record.key)) is not None:
            yield read, record, sent
