"""History: what a run looked like from outside: what was told, what was seen, what lies on the disks · core

What always holds: it knows nothing of any broker's insides or of any protocol, so that RocketMQ's replication
and Kafka's are judged by the same checkers. A message is named by a key that only it has. A queue is named by
a text such as `flights/a/0`: topic, broker group, number. Times are virtual milliseconds since the run began.

A sender notes a message before it leaves (`send`), and what it was told (`tell`). A reader notes each answer
(`read`), and where it went on from another place than the one it had come to (`move`). At the end the records
of every disk are noted (`keep`).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

ACKNOWLEDGED = "SEND_OK"  # any other status promises nothing


@dataclass(slots=True)
class Sent:
    """One message that was handed to a producer. What was told: `status`, `told_ms` and its place."""

    key: str
    topic: str
    body: bytes
    sender: str
    sent_ms: float
    may_repeat: bool = False  # its producer tries again by itself, so it may lie there twice
    not_before_ms: float | None = None  # a delayed message: nobody may see it earlier
    is_half: bool = False  # part of a transaction: nobody may see it before the commit
    decision: str = ""  # "commit" or "rollback"
    decided_ms: float | None = None
    status: str = ""  # empty: no answer came, so it may be stored or not
    told_ms: float | None = None
    queue: str = ""
    queue_offset: int = -1

    @property
    def is_acknowledged(self) -> bool:
        """Whether its sender may rely on it."""
        return self.status == ACKNOWLEDGED

    def __str__(self) -> str:
        where = f" ({self.queue} @{self.queue_offset})" if self.queue else ""
        return f"message {self.key}{where}"


@dataclass(frozen=True, slots=True)
class Record:
    """A message where it lies or where it was seen. `position` is its place in the log; -1: not known."""

    key: str
    body: bytes
    queue: str
    queue_offset: int
    position: int = -1


@dataclass(frozen=True, slots=True)
class Read:
    """One answer to a reader: it asked from `begin` on and goes on at `end`."""

    at_ms: float
    reader: str
    queue: str
    begin: int
    end: int
    records: tuple[Record, ...]
    stretch: int  # how often this reader had been moved in this queue before


@dataclass(frozen=True, slots=True)
class Disk:
    """What lay on one disk at one moment, in the order of its log."""

    name: str
    at_ms: float
    records: tuple[Record, ...]
    trouble: str = ""  # why the log could not be read to its end


@dataclass(frozen=True, slots=True)
class View:
    """From `at_ms` on, `who` (a "nameserver" or a "client" by `kind`) believes in these broker groups."""

    at_ms: float
    who: str
    kind: str
    brokers: tuple[str, ...]


@dataclass(slots=True)
class Absence:
    """A machine that could not be reached. `how`: "reset" (peers were told) or "silence" (nobody was)."""

    machine: str
    how: str
    from_ms: float
    to_ms: float | None = None  # None: to the end


@dataclass
class History:
    """All of it. `flush` and `replication` say under which promise it was made."""

    flush: str = "SYNC_FLUSH"
    replication: str = "NONE"
    topics: tuple[str, ...] = ()
    sent: dict[str, Sent] = field(default_factory=dict)
    reads: list[Read] = field(default_factory=list)
    disks: list[Disk] = field(default_factory=list)  # of one disk, the last is the end
    views: list[View] = field(default_factory=list)
    absences: list[Absence] = field(default_factory=list)
    nameservers: tuple[str, ...] = ()
    faults: dict[tuple[str, str], list[float]] = field(default_factory=dict)  # (class, group or ""): when
    torn: list[tuple[str, int]] = field(default_factory=list)
    """Records, by queue and queue offset, that a loss of power damaged where no checksum looks."""
    ended_ms: float = 0.0
    _stretches: dict[tuple[str, str], int] = field(default_factory=dict)

    # What producers did and were told.

    def send(self, key: str, topic: str, body: bytes, sender: str, at_ms: float, **more: object) -> Sent:
        """A message is about to leave. `more`: the fields of Sent that say what it is."""
        if key in self.sent:
            raise ValueError(f"{key} was sent before: a key names one message")
        sent = self.sent[key] = Sent(key, topic, body, sender, at_ms, **more)  # type: ignore[arg-type]
        return sent

    def tell(self, key: str, status: str, at_ms: float, queue: str = "", queue_offset: int = -1) -> None:
        """Its sender has an answer."""
        sent = self.sent[key]
        sent.status, sent.told_ms, sent.queue, sent.queue_offset = status, at_ms, queue, queue_offset

    def decide(self, key: str, decision: str, at_ms: float) -> None:
        """Its transaction has ended: "commit" or "rollback"."""
        self.sent[key].decision, self.sent[key].decided_ms = decision, at_ms

    # What consumers saw.

    def read(
        self, reader: str, queue: str, begin: int, end: int, records: Iterable[Record], at_ms: float
    ) -> None:
        """An answer came: from `begin` up to (not with) `end` there was this."""
        stretch = self._stretches.get((reader, queue), 0)
        self.reads.append(Read(at_ms, reader, queue, begin, end, tuple(records), stretch))

    def move(self, reader: str, queue: str) -> None:
        """The reader goes on somewhere else: it was restarted, or was told that its place is not there."""
        self._stretches[reader, queue] = self._stretches.get((reader, queue), 0) + 1

    # What there is in the end, and what happened.

    def keep(self, disk: str, records: Sequence[Record], at_ms: float, trouble: str = "") -> None:
        """What lies on a disk now."""
        self.disks.append(Disk(disk, at_ms, tuple(records), trouble))

    def last_disks(self) -> dict[str, Disk]:
        """Each disk as it was looked at last."""
        return {disk.name: disk for disk in self.disks}

    def view(self, at_ms: float, who: str, kind: str, brokers: Sequence[str]) -> None:
        """What somebody believes; noted only when it has changed."""
        before = next((view for view in reversed(self.views) if view.who == who), None)
        if before is None or before.brokers != tuple(brokers):
            self.views.append(View(at_ms, who, kind, tuple(brokers)))

    def absent(self, machine: str, how: str, at_ms: float) -> None:
        """It cannot be reached from now on."""
        if self.absence(machine) is None:
            self.absences.append(Absence(machine, how, at_ms))

    def back(self, machine: str, at_ms: float) -> None:
        """It can be reached again."""
        if (absence := self.absence(machine)) is not None:
            absence.to_ms = at_ms

    def happened(self, fault: str, group: str = "", at_ms: float = 0.0) -> None:
        """A fault of this class befell a broker group; "": it was not a broker's."""
        self.faults.setdefault((fault, group), []).append(at_ms)

    def times_of(self, fault: str, group: str) -> list[float]:
        """When faults of this class befell this group."""
        return self.faults.get((fault, group), [])

    def faults_of(self, group: str) -> tuple[str, ...]:
        """The classes of faults that befell this group, or nobody's in particular; "": all."""
        return tuple(dict.fromkeys(name for name, where in self.faults if not group or where in ("", group)))

    def absence(self, machine: str) -> Absence | None:
        """The absence that has not ended."""
        return next((each for each in self.absences if each.machine == machine and each.to_ms is None), None)

    # What is asked of it.

    def acknowledged(self) -> list[Sent]:
        """Every message that its sender may rely on, in the order of the answers."""
        told = [sent for sent in self.sent.values() if sent.is_acknowledged]
        return sorted(told, key=lambda sent: sent.told_ms or 0.0)

    def kept(self) -> dict[str, list[tuple[str, Record]]]:
        """For each key, where it lies in the end: (disk, record)."""
        found: dict[str, list[tuple[str, Record]]] = {}
        for disk in self.last_disks().values():
            for record in disk.records:
                found.setdefault(record.key, []).append((disk.name, record))
        return found

    def missing(self) -> list[Sent]:
        """What was acknowledged and lies on no disk in the end."""
        kept = self.kept()
        return [sent for sent in self.acknowledged() if sent.key not in kept]

    def survivors_behind(self, sent: Sent, at_ms: float) -> list[Sent]:
        """What lay behind an acknowledged message in its queue at that moment, and is still there.

        Not what was acknowledged before it was sent: that is another past of the queue, on another disk.
        """
        kept = self.kept()
        return [
            other
            for other in self.acknowledged()
            if other.queue == sent.queue
            and other.queue_offset > sent.queue_offset
            and sent.sent_ms <= (other.told_ms or 0.0) <= at_ms
            and other.key in kept
        ]
