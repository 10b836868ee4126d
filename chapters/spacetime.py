"""A space-time diagram of a simulated run, as SVG: time runs down, each machine is a line.

    outcome, tale = observe("lone-async seed=1")
    print(draw(tale, "…", focus=focus_of(tale, outcome)))

A row is an event: when, what happened on which line, and the same in words. Rows keep the journal's order;
the space between two grows with the digits of the milliseconds between them, so that packets of a fifth of a
millisecond can be seen beside a wait of two minutes. Nothing is said by colour: what was lost ends in a
cross, who is dead is dashed or dotted, and each row has its words. Pointing at a shape shows the event's
whole line of the journal.

What always holds: at most `most` events are drawn, and a row stands where others were left out, with their
number. The same journal gives the same text.
"""

import textwrap
from collections.abc import Collection, Iterable, Sequence
from html import escape

from chapters.lab_journal import ALIVE, DARK, DEAD, DRIVER, LIFE, Packet, Span, Tale, is_trouble
from chapters.lab_shapes import LEGEND, STYLE, bolt, cross, diamond, dot, head, line, ring, triangle
from chapters.lab_words import clock, line_of, visible, words_of
from chapters.picture import MARGIN, WIDTH, Picture

MOST_EVENTS, MOST_LANES, MOST_TRACKS = 120, 16, 4
ROW, ARRIVAL_ROW, LINE, LETTER = 17, 11, 13, 6.7  # heights; the width of one letter of a row
TRACK, CLOCK, NAME_LETTERS = 8, 50, 12
LANES_WIDTH, WIDEST_LANE = 168, 30
BANNER_LINES, ROW_LINES = 4, 2
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
        self.lanes = self._busiest()
        drawable = [i for i in window if self._is_drawable(i)]
        self.kept = tale.choose(drawable, most, self.focus)
        self.lanes = self._needed()
        self.spans = self._spans()
        self.tracks = self._tracks()
        self._measure()
        self.row: dict[int, int] = {}
        self.gaps: list[tuple[int, str, str]] = []
        self.banners: list[tuple[int, int]] = []  # from where to where the lines are broken
        self.end = self._place_rows()
        self.description = self._describe()
        self.shapes.append(f"<style>{STYLE}</style>")
        self._draw()

    # -- what is drawn ---------------------------------------------------------------------------------

    def _machines(self, index: int) -> Iterable[str]:
        packet = self.tale.packet_of.get(index)
        return (packet.source, packet.target) if packet else (self.tale.events[index].node,)

    def _busiest(self) -> list[str]:
        """All machines, or the MOST_LANES to which most happens, in their own order."""
        happened = dict.fromkeys(self.tale.machines, 0)
        for index in self.window:
            for name in self._machines(index):
                happened[name] = happened.get(name, 0) + (name != DRIVER)
        happened.pop(DRIVER, None)
        busiest = sorted(happened, key=lambda name: -happened[name])[:MOST_LANES]
        return [name for name in happened if name in busiest]

    def _is_drawable(self, index: int) -> bool:
        return all(name == DRIVER or name in self.lanes for name in self._machines(index))

    def _needed(self) -> list[str]:
        """Lanes with an event, of the dead, and of whoever is in trouble."""
        busy = {name for index in self.kept for name in self._machines(index)}
        if not self.window:
            return self.lanes
        first, last = self.window[0], self.window[-1]
        ailing = {span.machine for span in self.tale.spans if span.touches(first, last)}
        dead = {
            name for name in self.lanes if any(s != ALIVE for _, s in self.tale.states(name, first, last))
        }
        return [name for name in self.lanes if name in busy | ailing | dead] or self.lanes

    def _spans(self) -> list[Span]:
        if not self.window:
            return []
        return [span for span in self.tale.spans if span.touches(self.window[0], self.window[-1])]

    def _tracks(self) -> list[tuple[Span, int]]:
        """Each span of the network and its column; when there are too many, the last column is shared."""
        ends: list[int] = []
        placed = []
        for span in [span for span in self.spans if not span.machine]:
            free = [track for track, end in enumerate(ends) if end <= span.begin]
            track = free[0] if free else min(len(ends), MOST_TRACKS - 1)
            ends += [0] * (track + 1 - len(ends))
            ends[track] = max(ends[track], len(self.tale.events) if span.end is None else span.end)
            placed.append((span, track))
        return placed

    # -- where it is drawn -----------------------------------------------------------------------------

    def _measure(self) -> None:
        tracks = 1 + max((track for _, track in self.tracks), default=-1)
        self.clock_right = 4 + tracks * TRACK + CLOCK - 6
        count = max(1, len(self.lanes))
        self.step = max(13, min(WIDEST_LANE, LANES_WIDTH // count))
        first = self.clock_right + 10 + self.step // 2 - 6
        self.x = {name: first + place * self.step for place, name in enumerate(self.lanes)}
        self.left = self.clock_right + 8
        self.words = first + (count - 1) * self.step + 12
        names = [visible(name)[:NAME_LETTERS] for name in self.lanes]
        longest = max([len(name) for name in names], default=1)
        self.is_slanted = longest * LETTER > self.step - 2
        self.top = 40 + (round(longest * 5.2) if self.is_slanted else 8)

    def _place_rows(self) -> int:
        """Give each event its base line; returns where the lines end."""
        y, before = self.top + 12, None
        drawn = set(self.kept)
        for index in self.kept:
            skipped = range(self.window[0] if before is None else before + 1, index)
            y = self._gap(y, skipped)
            if before is not None:
                y += self._pause(before, index)
            packet = self.tale.packet_of.get(index)
            if packet and index in packet.lost and packet.sent == index - 1 and packet.sent in drawn:
                self.row[index] = self.row[packet.sent]  # lost as it left: one row says both
            elif self.tale.events[index].node == DRIVER:
                y = self._banner(y, index)
            else:
                self.row[index] = y + (ARRIVAL_ROW if self._is_quiet(index) else ROW)
                y = self.row[index] + LINE * (len(self._lines(index)) - 1) * (not self._is_quiet(index))
            before = index
        last = self.window[0] - 1 if before is None and self.window else before
        y = self._gap(y, range(last + 1, self.window[-1] + 1)) if last is not None and self.window else y
        return y + 14

    def _pause(self, before: int, index: int) -> int:
        waited_ms = int(self.tale.times[index] - self.tale.times[before])
        return 3 * len(str(waited_ms)) if waited_ms else 0

    def _is_quiet(self, index: int) -> bool:
        """An arrival needs no words when the row of its sending has them."""
        packet = self.tale.packet_of.get(index)
        is_arrival = packet is not None and packet.arrived == index
        return is_arrival and packet is not None and packet.sent in self.row and not packet.lost

    def _gap(self, y: int, skipped: Sequence[int]) -> int:
        if skipped:
            left_out = f"… {len(skipped)} event{'s' * (len(skipped) > 1)} left out"
            self.gaps.append((y + ROW, left_out, self.tale.count(skipped)))
            self.banners.append((y + ROW - 8, y + ROW))
            return y + ROW + 2
        return y

    def _banner(self, y: int, index: int) -> int:
        y += 5
        self.row[index] = y + ROW
        height = len(self._lines(index)) * LINE
        self.banners.append((y + 5, y + 7 + height))
        return y + 4 + height

    def _lines(self, index: int) -> list[str]:
        is_banner = self.tale.events[index].node == DRIVER
        start, most = (self.left, BANNER_LINES) if is_banner else (self.words, ROW_LINES)
        letters, text = int((WIDTH - start - 3) / LETTER), words_of(self.tale, index)
        return textwrap.wrap(text, letters, max_lines=most, placeholder="…") or [""]

    # -- drawing ---------------------------------------------------------------------------------------

    def _draw(self) -> None:
        self._heading()
        for name in self.lanes:
            self._lifeline(name)
        for span in self.spans:
            if span.machine in self.x:
                self._disk_trouble(span)
        for span, track in self.tracks:
            self._bracket(span, track)
        for y, text, count in self.gaps:
            self._group("gap", f"left out: {count}", [self._text(self.words, y, text, "row faint")], y + 4)
        told = ""
        for index in self.kept:
            now = clock(self.tale.times[index])
            if now != told and not self._is_quiet(index):
                lift = 2 * (self.tale.events[index].node == DRIVER)
                self._add(self._text(self.clock_right, self.row[index] - lift, now, "at", "end"), 0)
                told = now
            self._event(index)
        self._legend()

    def _heading(self) -> None:
        self.text(MARGIN, 16, textwrap.shorten(self.title, 56, placeholder=" …"), "name")
        self._add(self._text(self.clock_right, self.top, "s", "at", "end"), 0)
        for name in self.lanes:
            shown, x = visible(name), self.x[name]
            shown = shown if len(shown) <= NAME_LETTERS else shown[: NAME_LETTERS - 1] + "…"
            turn = f' transform="rotate(-55 {x} {self.top})"' if self.is_slanted else ""
            anchor = "start" if self.is_slanted else "middle"
            self._add(self._text(x, self.top, shown, "row strong", anchor, turn), self.top)

    @staticmethod
    def _text(x: float, y: float, text: str, kind: str, anchor: str = "start", more: str = "") -> str:
        return f'<text x="{x:g}" y="{y:g}" class="{kind}" text-anchor="{anchor}"{more}>{escape(text)}</text>'

    def _group(self, kind: str, hover: str, shapes: Iterable[str], lowest: float) -> None:
        inside = "".join(shapes)
        self._add(f'<g class="{kind}"><title>{escape(hover)}</title>{inside}</g>', lowest)

    def _lifeline(self, name: str) -> None:
        """Solid while it lives, dashed when its process is dead, dotted without power."""
        x, start = self.x[name], self.top + 6
        if not self.window:
            return
        states = self.tale.states(name, self.window[0], self.window[-1])
        edges = [*(self._level(index) for index, _ in states[1:]), self.end]
        shapes = []
        for (_, state), edge in zip(states, edges, strict=True):
            for upper, lower in self._between_banners(start, edge):
                shapes.append(f'<path d="M{x} {upper}V{lower}" class="{LOOKS[state]}"/>')
            start = edge
        self._group("lane", f"{visible(name)}, a machine", shapes, self.end)

    def _between_banners(self, start: int, end: int) -> list[tuple[int, int]]:
        pieces, at = [], start
        for upper, lower in self.banners:
            if upper > at:
                pieces.append((at, min(upper, end)))
            at = max(at, lower)
            if at >= end:
                break
        if at < end:
            pieces.append((at, end))
        return [(upper, lower) for upper, lower in pieces if upper < lower]

    def _level(self, index: int) -> int:
        """The height of an event, or of the last one drawn before it."""
        below = [self.row[i] for i in self.kept if i <= index]
        return (below[-1] if below else self.top + 8) - 4

    def _disk_trouble(self, span: Span) -> None:
        """The line of a machine with disk trouble is doubled."""
        x, (y0, y1) = self.x[span.machine], self._extent(span)
        pieces = self._between_banners(y0, y1)
        shapes = [
            f'<path class="thin" d="M{x - 4} {upper}V{lower}M{x + 4} {upper}V{lower}"/>'
            for upper, lower in pieces
        ]
        self._group("span", self._span_words(span), shapes, y1)

    def _bracket(self, span: Span, track: int) -> None:
        """A bracket at the left edge; an end that lies outside the picture stays open."""
        x, (y0, y1) = 4 + track * TRACK, self._extent(span)
        inside = span.begin in self.window, span.end is not None and span.end in self.window
        top = f"M{x + 5} {y0}H{x}" if inside[0] else f"M{x} {y0}"
        look = "thick" if span.kind == "cut" else "thick dead"
        shapes = [f'<path class="{look}" d="{top}V{y1}{"h5" if inside[1] else ""}"/>']
        self._group("span", self._span_words(span), shapes, y1)

    def _extent(self, span: Span) -> tuple[int, int]:
        y0 = self._level(span.begin) if span.begin in self.window else self.top + 6
        y1 = self._level(span.end) if span.end is not None and span.end in self.window else self.end
        return y0, max(y1, y0 + 4)

    def _span_words(self, span: Span) -> str:
        end = "to the end" if span.end is None else f"to {clock(self.tale.times[span.end])} s"
        return f"{span.name.partition(':')[2]} from {clock(self.tale.times[span.begin])} s {end}"

    # -- one event -------------------------------------------------------------------------------------

    def _event(self, index: int) -> None:
        event, y = self.tale.events[index], self.row[index]
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
        if self._is_quiet(index) or (packet and self._is_merged(packet, index)):
            return []
        lines = self._lines(index)
        is_loud = index in self.focus or self.tale.events[index].kind in LIFE
        texts = [
            self._text(self.words, y + LINE * place, line, "row strong" if is_loud else "row")
            for place, line in enumerate(lines)
        ]
        size = f'width="{WIDTH - self.words + 2}" height="{3 + LINE * len(lines)}"'
        outline = f'<rect x="{self.words - 4}" y="{y - 12}" {size} rx="3" class="mark"/>'
        return [outline] * (index in self.focus) + texts

    def _is_merged(self, packet: Packet, index: int) -> bool:
        return (
            packet.sent is not None and index != packet.sent and self.row.get(packet.sent) == self.row[index]
        )

    def _driver(self, index: int, y: int) -> list[str]:
        lines = self._lines(index)
        rule = f'<path class="rule" d="M{self.left} {y - 14}H{WIDTH - 4}"/>'
        texts = [
            self._text(self.left, y - 2 + LINE * place, line, "row strong")
            for place, line in enumerate(lines)
        ]
        return [rule, *texts]

    def _mark(self, index: int, y: int) -> str:
        """The shape of what happens on one machine."""
        event = self.tale.events[index]
        x = self.x[event.node]
        if event.kind == "started":
            return triangle(x, y)
        if event.kind in ("killed", "disk destroyed"):
            return bolt(x, y) if event.cause == "power" else cross(x, y, 6)
        if is_trouble(event.kind):
            return diamond(x, y)
        return dot(x, y)

    def _packet(self, packet: Packet, index: int, y: int) -> list[str]:
        here, there = self.x[packet.source], self.x[packet.target]
        middle = here + (there - here) * 0.55
        if index == packet.arrived:
            return self._arrival(packet, here, there, y)
        if index in packet.lost:
            shapes = [] if self._is_merged(packet, index) else [line(here, y, middle, y)]
            return [*shapes, cross(middle, y, 4)]
        tail = ring(here, y)
        if packet.lost:
            crossed = packet.lost[0] in self.row and self._is_merged(packet, packet.lost[0])
            return [line(here, y, middle, y), tail, "" if crossed else cross(middle, y, 4)]
        if packet.arrived is None:
            return [line(here, y, middle, y), tail, cross(middle, y, 4, "thin")]
        if packet.arrived in self.row:
            return [line(here, y, there, self.row[packet.arrived] - 4), tail]
        return [line(here, y, middle, y, "dead"), tail]  # it arrives outside the picture

    def _arrival(self, packet: Packet, here: int, there: int, y: int) -> list[str]:
        """An arrow's head. The arrow itself, too, when it did not come straight from a row above."""
        if self._is_straight(packet):
            assert packet.sent is not None
            return [head(here, self.row[packet.sent] - 4, there, y)]
        start = here if packet.lost or packet.sent is None else here + (there - here) * 0.45
        return [
            line(start, y, there, y, "dead" if packet.sent is not None else ""),
            head(start, y, there, y),
        ]

    # -- what it says about itself ---------------------------------------------------------------------

    def _lost_count(self) -> int:
        packets = {packet.number: packet for i in self.kept if (packet := self.tale.packet_of.get(i))}
        return sum(packet.lost != [] or packet.arrived is None for packet in packets.values())

    def _describe(self) -> str:
        """For those who cannot see it."""
        if not self.kept:
            return "Nothing happened in this stretch of time."
        times = self.tale.times
        main = [
            f"{clock(times[i])} s {words_of(self.tale, i)}" for i in self.kept if self.tale.is_main(i)
        ]  # fmt: skip
        shown = "; ".join(main[:40]) + (f"; and {len(main) - 40} more" if len(main) > 40 else "")
        return (
            f"Time runs down, from {clock(times[self.kept[0]])} s to {clock(times[self.kept[-1]])} s. "
            f"Machines: {', '.join(visible(name) for name in self.lanes)}. "
            f"Drawn: {self.tale.count(self.kept)}; "
            f"{self._lost_count()} of the messages are lost or reach nobody. {self.limits()}"
            f"{f' In order: {shown}.' if main else ''}"
        )

    def limits(self) -> str:
        """What was left out, in a sentence or two."""
        whole, out = len(self.window), len(self.window) - len(self.kept)
        texts = [
            f"{len(self.kept)} of {whole} events are drawn, {out} left out."
            if out
            else f"All {whole} events of this stretch are drawn."
        ]
        missing = [visible(name) for name in self.tale.machines if name not in self.lanes]
        if missing:
            texts.append(f"No line: {', '.join(missing)}.")
        if self.tale.forgotten:
            texts.append(f"The journal was too long: its first {self.tale.forgotten} events were not kept.")
        return " ".join(texts)

    def _legend(self) -> None:
        y, x = self.end + 22, MARGIN + 14
        for name in [name for name in LEGEND if name in self._occurring()]:
            shape, meaning = LEGEND[name]
            self._add(f'<g transform="translate({x} {y - 4})">{shape}</g>', y)
            self.text(x + 18, y, meaning, "dim")
            y += 18
        for sentence in textwrap.wrap(self.limits(), 62):
            self.text(MARGIN, y, sentence, "dim")
            y += 16

    def _occurring(self) -> set[str]:
        """The names of the shapes that were drawn."""
        occurring = {"cut" if span.kind == "cut" else "delay" for span, _ in self.tracks}
        occurring |= {"disk"} if any(span.machine for span in self.spans) else set()
        occurring |= {"focus"} if self.focus & set(self.kept) else set()
        for name in self.lanes if self.window else []:
            for _, state in self.tale.states(name, self.window[0], self.window[-1]):
                occurring.add({DEAD: "died", DARK: "dark"}.get(state, ""))
        for index in self.kept:
            occurring.add(self._name_of(index))
        return occurring

    def _name_of(self, index: int) -> str:
        """The shape that stands for an event."""
        packet, kind = self.tale.packet_of.get(index), self.tale.events[index].kind
        if packet is None:
            return "started" if kind == "started" else "trouble" if is_trouble(kind) else ""
        if index == packet.arrived:
            return "arrives" if self._is_straight(packet) else "late"
        return "lost" if packet.lost or packet.arrived is None else ""

    def _is_straight(self, packet: Packet) -> bool:
        """Whether its arrival is the end of an arrow that begins in a row above."""
        return packet.sent is not None and packet.sent in self.row and not packet.lost
