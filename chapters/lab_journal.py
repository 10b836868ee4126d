"""A run's journal, read for those who draw it: who talks to whom, who lives, what is spoiled, what matters.

The journal is a list of events. Diagram, replay and report need more: which arrival belongs to which sending,
what a machine was at some moment, from when to when a link was cut, and which few events of thousands tell
the story. All of it is computed here, from the events alone.

What always holds: an event is named by its index. A choice of events (`Tale.choose`) is the same for the same
journal, never more than was asked for, and takes what the driver did and who died or rose first; then what
lies nearest to that.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from mq.runtime.journal import Event
from mq.sim.checkers import Anomaly
from mq.sim.history import History
from mq.sim.lab import Alter, Outcome, run
from mq.sim.scenario import CALM, Fault, Scenario, ScenarioError
from mq.sim.simulation import Simulation

DRIVER = "driver"
LIFE = ("killed", "started", "power lost", "disk destroyed", "clock jumped", "crash point")
ALIVE, DEAD, DARK = "alive", "process dead", "no power"
TROUBLE = (" not ", " lost", " failed", " poisoned", " reset", " refused", " closed", " gone", " left",
           " missing", " unreadable", " no ", " full")  # fmt: skip
DISK_TROUBLE = ("slow", "full", "fail", "readonly")
NEARER = 8  # trouble counts as so many times nearer to a fault than other events at the same distance
ADDRESS = re.compile(r"[0-9]+(?:\.[0-9]+){3}")
PLACE = re.compile(r"(\S+/\S+/[0-9]+) @([0-9]{1,18})")
ANOMALIES_SOUGHT = 12
FILLING, LARGEST_HOLE = 20, 6  # so many per cent of a choice are kept to fill holes of so few events


def is_trouble(kind: str) -> bool:
    """Whether somebody is worse off; floors name their own events, so this goes by words."""
    return any(word in f" {kind} " for word in TROUBLE)


@dataclass
class Packet:
    """Bytes that left together. `sent`, `arrived`, `lost` are indexes of events; None: not in the journal."""

    number: int
    source: str = ""
    target: str = ""
    what: str = ""
    sent: int | None = None
    arrived: int | None = None
    lost: list[int] = field(default_factory=list)

    @property
    def parts(self) -> list[int]:
        """All its events, in their order."""
        return sorted({*self.lost, *(i for i in (self.sent, self.arrived) if i is not None)})

    @property
    def name(self) -> str:
        """What it was, short: the first frame's name, and how many more."""
        first, *more = self.what.split(" ") if self.what and not self.what.startswith("(") else [self.what]
        return first.replace(":SUCCESS", " ok").replace(":", " ") + (f" +{len(more)}" if more else "")


@dataclass
class Span:
    """Something that lasts: a way cut or slow, a machine's disk in trouble. `end` None: to the end."""

    name: str
    kind: str  # "cut", "delay" or "disk"
    machine: str  # of a disk; else empty
    begin: int
    end: int | None = None
    ways: set[tuple[str, str]] = field(default_factory=set)

    def touches(self, first: int, last: int) -> bool:
        """Whether it lasts at some moment between two events."""
        return self.begin <= last and (self.end is None or self.end >= first)


class Tale:
    """Events as they came, and what follows from them. `names`: the machine behind each address."""

    def __init__(self, events: Sequence[Event], names: Mapping[str, str], forgotten: int = 0) -> None:
        self.events = list(events)
        self.names = dict(names)
        self.machines = list(names.values())
        self.forgotten = forgotten  # of the oldest, how many the journal no longer had
        self.times = [event.time_ms for event in self.events]
        self.packets: dict[int, Packet] = {}
        self.packet_of: dict[int, Packet] = {}  # by index of an event
        self.spans: list[Span] = []
        self._lives: dict[str, list[tuple[int, str]]] = {name: [(-1, ALIVE)] for name in self.machines}
        for index, event in enumerate(self.events):
            if event.node == DRIVER:
                self._read_fault(index, event)
            elif event.kind in ("sent", "chunk", "packet lost"):
                self._read_packet(index, event)
            else:
                self._read_life(index, event)

    def _read_packet(self, index: int, event: Event) -> None:
        fields = dict(event.fields)
        number, peer = fields.get("number"), self.machine_at(str(fields.get("peer", "")))
        if not isinstance(number, int):  # not traced, or a packet that has no name, such as a greeting
            number = -1 - index
        packet = self.packet_of[index] = self.packets.setdefault(number, Packet(number))
        if event.kind == "chunk":
            packet.arrived, packet.target, packet.source = index, event.node, packet.source or peer
        else:
            packet.source, packet.target = event.node, peer
            if event.kind == "sent":
                packet.sent, packet.what = index, str(fields.get("what", ""))
            else:
                packet.lost.append(index)

    def machine_at(self, endpoint: str) -> str:
        """The machine behind `10.0.0.3:10911` or `10.0.0.3`; or the address itself."""
        address = endpoint if endpoint in self.names else endpoint.rpartition(":")[0]
        return self.names.get(address, endpoint)

    def with_names(self, text: str) -> str:
        """The same text, with the machines' names for their addresses."""
        return ADDRESS.sub(lambda found: self.names.get(found[0], found[0]), text)

    def _read_life(self, index: int, event: Event) -> None:
        states = self._lives.get(event.node)
        if states is not None and event.kind in ("killed", "power lost", "started"):
            died = DARK if event.kind == "power lost" or event.cause == "power" else DEAD
            states.append((index, ALIVE if event.kind == "started" else died))

    def _read_fault(self, index: int, event: Event) -> None:
        if event.kind == CALM:
            self._end(index, lambda span: True)
        if event.kind != "fault":
            return
        try:
            fault = Fault.parse(str(dict(event.fields).get("fault", "")))
        except ScenarioError:
            return
        is_over = fault.kind in ("delay", "slow") and set(fault.values) == {"0"}
        if fault.kind == "heal" or (fault.kind == "delay" and is_over):
            self._heal(index, fault)
        elif fault.kind == "mend" or is_over:
            self._end(index, lambda span: span.machine == fault.target)
        elif fault.kind in ("cut", "delay"):
            self.spans.append(Span(str(fault), fault.kind, "", index, ways=self._ways(fault)))
        elif fault.kind in DISK_TROUBLE:
            self.spans.append(Span(str(fault), "disk", fault.target, index))

    def _ways(self, fault: Fault) -> set[tuple[str, str]]:
        every = self.machines
        return {
            (one, other)
            for a, b in fault.ways
            for one in (every if a == "*" else [a])
            for other in (every if b == "*" else [b])
            if one != other
        }

    def _heal(self, index: int, fault: Fault) -> None:
        kinds = ("cut", "delay") if fault.kind == "heal" else ("delay",)
        for span in self.spans:
            if span.kind in kinds:
                span.ways -= self._ways(fault)
        self._end(index, lambda span: span.kind in kinds and not span.ways)

    def _end(self, index: int, is_meant: Callable[[Span], bool]) -> None:
        for span in self.spans:
            if span.end is None and is_meant(span):
                span.end = index

    def states(self, machine: str, first: int, last: int) -> list[tuple[int, str]]:
        """What it was from index `first` on, and where that changed, up to `last`."""
        known = self._lives.get(machine, [(-1, ALIVE)])
        before = [state for index, state in known if index < first]
        return [(first, before[-1] if before else ALIVE), *((i, s) for i, s in known if first <= i <= last)]

    def state(self, machine: str, index: int) -> str:
        """What it was just after this event."""
        return self.states(machine, index + 1, index)[0][1]

    def window(self, from_ms: float | None, to_ms: float | None) -> range:
        """The indexes of the events of a stretch of time, both ends included."""
        first = 0 if from_ms is None else bisect_left(self.times, from_ms)
        return range(first, len(self.times) if to_ms is None else bisect_right(self.times, to_ms))

    def is_main(self, index: int) -> bool:
        """Whether the driver did it, or a machine died, rose or lost something."""
        return self.events[index].node == DRIVER or self.events[index].kind in LIFE

    def choose(self, window: Sequence[int], most: int, focus: Collection[int] = ()) -> list[int]:
        """At most `most` of these indexes: faults and deaths, `focus`, then whatever is nearest to them.

        A packet is taken with all its events of the window, or not at all.
        """
        if len(window) <= most:
            return list(window)
        inside = set(window)
        distance = _distances(window, {i for i in window if self.is_main(i) or i in focus})
        units: dict[int, tuple[int, ...]] = {}
        for index in window:
            packet = self.packet_of.get(index)
            parts = tuple(i for i in packet.parts if i in inside) if packet else (index,)
            units.setdefault(parts[0], parts)
        order = sorted((self._rank(parts, distance, focus), parts) for parts in units.values())
        chosen: list[int] = []
        room = most - most * FILLING // 100
        for _, parts in order:
            if len(chosen) + len(parts) > room:
                break
            chosen += parts
        return self._without_holes(window, chosen, units, most)

    @staticmethod
    def _without_holes(
        window: Sequence[int], chosen: list[int], units: Mapping[int, tuple[int, ...]], most: int
    ) -> list[int]:
        """Add what was left out between two that were chosen, smallest holes first, while there is room."""
        unit_of = {index: parts for parts in units.values() for index in parts}
        taken, place = dict.fromkeys(chosen), {index: at for at, index in enumerate(window)}
        edges = sorted(place[index] for index in chosen)
        holes = sorted((b - a - 1, a) for a, b in pairwise(edges) if 1 < b - a <= LARGEST_HOLE)
        for size, at in holes:
            missing = [unit_of[index] for index in window[at + 1 : at + 1 + size]]
            more = dict.fromkeys(index for parts in missing for index in parts if index not in taken)
            if len(taken) + len(more) > most:
                break
            taken.update(more)
        return sorted(taken)

    def _rank(
        self, parts: tuple[int, ...], distance: Mapping[int, int], focus: Collection[int]
    ) -> tuple[int, int]:
        if any(self.is_main(i) for i in parts):
            return 0, parts[0]
        if any(i in focus for i in parts):
            return 1, parts[0]
        nearest = min(distance[i] for i in parts)
        return 2, nearest // NEARER if any(is_trouble(self.events[i].kind) for i in parts) else nearest

    def count(self, indexes: Iterable[int]) -> str:
        """`3 messages and 4 other events`."""
        indexes = list(indexes)
        packets = {self.packet_of[i].number for i in indexes if i in self.packet_of}
        others = sum(i not in self.packet_of for i in indexes)
        texts = [f"{len(packets)} message{'s' * (len(packets) != 1)}"] if packets else []
        if others:
            texts.append(f"{others} other event{'s' * (others != 1)}")
        return " and ".join(texts) or "nothing"


def _distances(window: Sequence[int], anchors: set[int]) -> dict[int, int]:
    """For each index how many events away the nearest anchor is; without anchors, from the beginning."""
    anchors = anchors or set(window[:1])
    distance: dict[int, int] = {}
    for order in (window, list(reversed(window))):
        since = len(window)
        for index in order:
            since = 0 if index in anchors else since + 1
            distance[index] = min(since, distance.get(index, since))
    return distance


def machines_of(simulation: Simulation) -> dict[str, str]:
    """The name of the machine behind each address, in the order in which they were made."""
    return {address: host.journal.node for address, host in simulation.network.hosts.items()}


def observe(scenario: Scenario | str, alter: Sequence[Alter] = ()) -> tuple[Outcome, Tale]:
    """Run it, traced, and read its journal. Raises ScenarioError."""
    scenario = Scenario.parse(scenario) if isinstance(scenario, str) else scenario
    simulation = Simulation(scenario.seed)
    outcome = run(scenario, alter, simulation, is_traced=True)
    return outcome, Tale(outcome.events, machines_of(simulation), outcome.events_forgotten)


def keys_in(anomaly: Anomaly, history: History) -> list[str]:
    """The messages that an anomaly's sentence names."""
    words = re.findall(r"[^\s,;()]+", anomaly.sentence)
    return list(dict.fromkeys(word for word in words if word in history.sent))


def moments(anomaly: Anomaly, history: History) -> list[float]:
    """When it happened, in virtual milliseconds: answers to the senders of its messages, times it states."""
    told = [history.sent[key].told_ms for key in keys_in(anomaly, history)]
    stated = re.findall(r"\bat ([0-9]+(?:\.[0-9]+)?) (ms|s)\b", anomaly.sentence)
    times = [float(number) * (1000 if unit == "s" else 1) for number, unit in stated]
    return [time for time in told if time is not None] or times


def focus_of(tale: Tale, outcome: Outcome) -> list[int]:
    """The events in which the first few anomalies of each kind show: answers to senders, else the nearest."""
    seen: dict[str, int] = {}
    found: dict[int, None] = {}
    for anomaly in (outcome.anomalies or outcome.allowed) if tale.events else []:
        seen[anomaly.kind] = seen.get(anomaly.kind, 0) + 1
        if seen[anomaly.kind] <= ANOMALIES_SOUGHT:
            times = moments(anomaly, outcome.history)
            near = [index for time_ms in times for index in _events_at(tale, time_ms)]
            found.update(dict.fromkeys(near or _events_in(tale, anomaly)))
    return sorted(found)


def _events_at(tale: Tale, time_ms: float) -> list[int]:
    """What was said of a message then; else the next event of any kind."""
    around = tale.window(time_ms - 0.5, time_ms + 0.5)
    answers = [index for index in around if "key" in dict(tale.events[index].fields)]
    return answers or [min(bisect_left(tale.times, time_ms), len(tale.times) - 1)]


def _events_in(tale: Tale, anomaly: Anomaly) -> list[int]:
    """The answer that gave a place of the queue, or the last one before it, of which a sentence speaks."""
    place = PLACE.search(anomaly.sentence)
    if place is None:
        return []
    before: list[tuple[int, int]] = []
    for index, event in enumerate(tale.events):
        fields = dict(event.fields)
        queue_offset = fields.get("at")
        if (
            fields.get("queue") == place[1]
            and isinstance(queue_offset, int)
            and queue_offset <= int(place[2])
        ):
            before.append((queue_offset, index))
    return [max(before)[1]] if before else []
