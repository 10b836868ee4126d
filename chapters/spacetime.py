"""A space-time diagram of a simulated run, as SVG: time runs down, each machine is a line.

    outcome, tale = observe("lone-async seed=1")
    print(draw(tale, "…", focus=focus_of(tale, outcome)))

A row is an event: when, what happened on which line, and the same in words; `lab_layout.py` says where each
goes. Nothing is said by colour: what was lost ends in a cross, who is dead is dashed or dotted, and each row
has its words. Pointing at a shape shows the event's whole line of the journal.

What always holds: every event that has a row is drawn once. The same journal gives the same text.
"""

import textwrap
from collections.abc import Collection, Iterable
from html import escape

from chapters.lab_journal import ALIVE, DARK, DEAD, DRIVER, LIFE, Packet, Span, Tale, is_trouble
from chapters.lab_layout import LINE, MOST_EVENTS, NAME_LETTERS, TRACK, Layout
from chapters.lab_shapes import LEGEND, STYLE, bolt, cross, diamond, dot, head, line, ring, triangle
from chapters.lab_words import clock, line_of, visible, words_of
from chapters.picture import MARGIN, WIDTH, Picture

LOOKS = {ALIVE: "thin", DEAD: "dead", DARK: "dark"}


def draw(
    tale: Tale,
    title: str,
    from_ms: float | None = None,
    to_ms: float | None = None,
    most: int = MOST_EVENTS,
    focus: Collection[int] = (),
) -> str:
    """The SVG's text. `focus`: indexes of events that are drawn if any are, and outlined."""
    return Diagram(tale, title, tale.window(from_ms, to_ms), most, focus).svg()


class Diagram(Picture):
    """One drawing. It is complete once it has been made."""

    def __init__(self, tale: Tale, title: str, window: range, most: int, focus: Collection[int]) -> None:
        super().__init__(visible(title), "")
        self.tale, self.window, self.focus = tale, window, set(focus)
        self.at = Layout(tale, window, most, focus)
        self.description = self._describe()
        self.shapes.append(f"<style>{STYLE}</style>")
        self._draw()

    # -- drawing ---------------------------------------------------------------------------------------

    def _draw(self) -> None:
        self._heading()
        for name in self.at.lanes:
            self._lifeline(name)
        for span in self.at.spans:
            if span.machine in self.at.x:
                self._disk_trouble(span)
        for span, track in self.at.tracks:
            self._bracket(span, track)
        for y, text, count in self.at.gaps:
            self._group("gap", f"left out: {count}", [self._text(self.at.words, y, text, "row faint")], y + 4)
        told = ""
        for index in self.at.kept:
            now = clock(self.tale.times[index])
            if now != told and not self.at.is_quiet(index):
                lift = 2 * (self.tale.events[index].node == DRIVER)
                self._add(self._text(self.at.clock_right, self.at.row[index] - lift, now, "at", "end"), 0)
                told = now
            self._event(index)
        self._legend()

    def _heading(self) -> None:
        self.text(MARGIN, 16, textwrap.shorten(self.title, 56, placeholder=" …"), "name")
        self._add(self._text(self.at.clock_right, self.at.top, "s", "at", "end"), 0)
        for name in self.at.lanes:
            shown, x = visible(name), self.at.x[name]
            shown = shown if len(shown) <= NAME_LETTERS else shown[: NAME_LETTERS - 1] + "…"
            turn = f' transform="rotate(-55 {x} {self.at.top})"' if self.at.is_slanted else ""
            anchor = "start" if self.at.is_slanted else "middle"
            self._add(self._text(x, self.at.top, shown, "row strong", anchor, turn), self.at.top)

    @staticmethod
    def _text(x: float, y: float, text: str, kind: str, anchor: str = "start", more: str = "") -> str:
        return f'<text x="{x:g}" y="{y:g}" class="{kind}" text-anchor="{anchor}"{more}>{escape(text)}</text>'

    def _group(self, kind: str, hover: str, shapes: Iterable[str], lowest: float) -> None:
        inside = "".join(shapes)
        self._add(f'<g class="{kind}"><title>{escape(hover)}</title>{inside}</g>', lowest)

    def _lifeline(self, name: str) -> None:
        """Solid while it lives, dashed when its process is dead, dotted without power."""
        x, start = self.at.x[name], self.at.top + 6
        if not self.window:
            return
        states = self.tale.states(name, self.window[0], self.window[-1])
        edges = [*(self.at.level(index) for index, _ in states[1:]), self.at.end]
        shapes = []
        for (_, state), edge in zip(states, edges, strict=True):
            for upper, lower in self.at.pieces(start, edge):
                shapes.append(f'<path d="M{x} {upper}V{lower}" class="{LOOKS[state]}"/>')
            start = edge
        self._group("lane", f"{visible(name)}, a machine", shapes, self.at.end)

    def _disk_trouble(self, span: Span) -> None:
        """The line of a machine with disk trouble is doubled."""
        x, (y0, y1) = self.at.x[span.machine], self.at.extent(span)
        pieces = self.at.pieces(y0, y1)
        shapes = [
            f'<path class="thin" d="M{x - 4} {upper}V{lower}M{x + 4} {upper}V{lower}"/>'
            for upper, lower in pieces
        ]
        self._group("span", self._span_words(span), shapes, y1)

    def _bracket(self, span: Span, track: int) -> None:
        """A bracket at the left edge; an end that lies outside the picture stays open."""
        x, (y0, y1) = 4 + track * TRACK, self.at.extent(span)
        inside = span.begin in self.window, span.end is not None and span.end in self.window
        top = f"M{x + 5} {y0}H{x}" if inside[0] else f"M{x} {y0}"
        look = "thick" if span.kind == "cut" else "thick dead"
        shapes = [f'<path class="{look}" d="{top}V{y1}{"h5" if inside[1] else ""}"/>']
        self._group("span", self._span_words(span), shapes, y1)

    def _span_words(self, span: Span) -> str:
        end = "to the end" if span.end is None else f"to {clock(self.tale.times[span.end])} s"
        return f"{span.name.partition(':')[2]} from {clock(self.tale.times[span.begin])} s {end}"

    # -- one event -------------------------------------------------------------------------------------

    def _event(self, index: int) -> None:
        event, y = self.tale.events[index], self.at.row[index]
        packet = self.tale.packet_of.get(index)
        shapes: list[str] = []
        if event.node == DRIVER:
            shapes += self._driver(index, y)
        else:
            shapes += self._words(index, y)
            shapes += self._packet(packet, index, y - 4) if packet else [self._mark(index, y - 4)]
        self._group("event", line_of(event), shapes, y + 4)

    def _words(self, index: int, y: int) -> list[str]:
        packet = self.tale.packet_of.get(index)
        if self.at.is_quiet(index) or (packet and self.at.is_merged(packet, index)):
            return []
        lines = self.at.lines(index)
        is_loud = index in self.focus or self.tale.events[index].kind in LIFE
        texts = [
            self._text(self.at.words, y + LINE * place, line, "row strong" if is_loud else "row")
            for place, line in enumerate(lines)
        ]
        size = f'width="{WIDTH - self.at.words + 2}" height="{3 + LINE * len(lines)}"'
        outline = f'<rect x="{self.at.words - 4}" y="{y - 12}" {size} rx="3" class="mark"/>'
        return [outline] * (index in self.focus) + texts

    def _driver(self, index: int, y: int) -> list[str]:
        lines = self.at.lines(index)
        rule = f'<path class="rule" d="M{self.at.left} {y - 14}H{WIDTH - 4}"/>'
        texts = [
            self._text(self.at.left, y - 2 + LINE * place, line, "row strong")
            for place, line in enumerate(lines)
        ]
        return [rule, *texts]

    def _mark(self, index: int, y: int) -> str:
        """The shape of what happens on one machine."""
        event = self.tale.events[index]
        x = self.at.x[event.node]
        if event.kind == "started":
            return triangle(x, y)
        if event.kind in ("killed", "disk destroyed"):
            return bolt(x, y) if event.cause == "power" else cross(x, y, 6)
        if is_trouble(event.kind):
            return diamond(x, y)
        return dot(x, y)

    def _packet(self, packet: Packet, index: int, y: int) -> list[str]:
        here, there = self.at.x[packet.source], self.at.x[packet.target]
        middle = here + (there - here) * 0.55
        if index == packet.arrived:
            return self._arrival(packet, here, there, y)
        if index in packet.lost:
            shapes = [] if self.at.is_merged(packet, index) else [line(here, y, middle, y)]
            return [*shapes, cross(middle, y, 4)]
        tail = ring(here, y)
        if packet.lost:
            crossed = packet.lost[0] in self.at.row and self.at.is_merged(packet, packet.lost[0])
            return [line(here, y, middle, y), tail, "" if crossed else cross(middle, y, 4)]
        if packet.arrived is None:
            return [line(here, y, middle, y), tail, cross(middle, y, 4, "thin")]
        if packet.arrived in self.at.row:
            return [line(here, y, there, self.at.row[packet.arrived] - 4), tail]
        return [line(here, y, middle, y, "dead"), tail]  # it arrives outside the picture

    def _arrival(self, packet: Packet, here: int, there: int, y: int) -> list[str]:
        """An arrow's head. The arrow itself, too, when it did not come straight from a row above."""
        if self.at.is_straight(packet):
            assert packet.sent is not None
            return [head(here, self.at.row[packet.sent] - 4, there, y)]
        start = here if packet.lost or packet.sent is None else here + (there - here) * 0.45
        return [
            line(start, y, there, y, "dead" if packet.sent is not None else ""),
            head(start, y, there, y),
        ]

    # -- what it says about itself ---------------------------------------------------------------------

    def _lost_count(self) -> int:
        packets = {packet.number: packet for i in self.at.kept if (packet := self.tale.packet_of.get(i))}
        return sum(packet.lost != [] or packet.arrived is None for packet in packets.values())

    def _describe(self) -> str:
        """For those who cannot see it."""
        if not self.at.kept:
            return "Nothing happened in this stretch of time."
        times = self.tale.times
        main = [
            f"{clock(times[i])} s {words_of(self.tale, i)}" for i in self.at.kept if self.tale.is_main(i)
        ]  # fmt: skip
        shown = "; ".join(main[:40]) + (f"; and {len(main) - 40} more" if len(main) > 40 else "")
        return (
            f"Time runs down, from {clock(times[self.at.kept[0]])} s to {clock(times[self.at.kept[-1]])} s. "
            f"Machines: {', '.join(visible(name) for name in self.at.lanes)}. "
            f"Drawn: {self.tale.count(self.at.kept)}; "
            f"{self._lost_count()} of the messages are lost or reach nobody. {self.limits()}"
            f"{f' In order: {shown}.' if main else ''}"
        )

    def limits(self) -> str:
        """What was left out, in a sentence or two."""
        whole, out = len(self.window), len(self.window) - len(self.at.kept)
        texts = [
            f"{len(self.at.kept)} of {whole} events are drawn, {out} left out."
            if out
            else f"All {whole} events of this stretch are drawn."
        ]
        missing = [visible(name) for name in self.tale.machines if name not in self.at.lanes]
        if missing:
            texts.append(f"No line: {', '.join(missing)}.")
        if self.tale.forgotten:
            texts.append(f"The journal was too long: its first {self.tale.forgotten} events were not kept.")
        return " ".join(texts)

    def _legend(self) -> None:
        y, x = self.at.end + 22, MARGIN + 14
        for name in [name for name in LEGEND if name in self._occurring()]:
            shape, meaning = LEGEND[name]
            self._add(f'<g transform="translate({x} {y - 4})">{shape}</g>', y)
            self.text(x + 18, y, meaning, "dim")
            y += 20
        for sentence in textwrap.wrap(self.limits(), 62):
            self.text(MARGIN, y, sentence, "dim")
            y += 16

    def _occurring(self) -> set[str]:
        """The names of the shapes that were drawn."""
        occurring = {"cut" if span.kind == "cut" else "delay" for span, _ in self.at.tracks}
        occurring |= {"disk"} if any(span.machine for span in self.at.spans) else set()
        occurring |= {"focus"} if self.focus & set(self.at.kept) else set()
        for name in self.at.lanes if self.window else []:
            for _, state in self.tale.states(name, self.window[0], self.window[-1]):
                occurring.add({DEAD: "died", DARK: "dark"}.get(state, ""))
        for index in self.at.kept:
            occurring.add(self._name_of(index))
        return occurring

    def _name_of(self, index: int) -> str:
        """The shape that stands for an event."""
        packet, kind = self.tale.packet_of.get(index), self.tale.events[index].kind
        if packet is None:
            return "started" if kind == "started" else "trouble" if is_trouble(kind) else ""
        if index == packet.arrived:
            return "arrives" if self.at.is_straight(packet) else "late"
        return "lost" if packet.lost or packet.arrived is None else ""
