"""Where everything of a space-time diagram goes: which events, which lines, and each one's height.

What always holds: at most `most` events have a row, and where others were left out there is a gap that knows
how many. Rows keep the journal's order; the space between two grows with the digits of the milliseconds
between them. Nothing is drawn here: `spacetime.py` does that.
"""

import textwrap
from collections.abc import Collection, Iterable, Sequence

from chapters.lab_journal import ALIVE, DRIVER, Packet, Span, Tale
from chapters.lab_words import visible, words_of
from chapters.picture import WIDTH

MOST_EVENTS, MOST_LANES, MOST_TRACKS = 120, 16, 4
ROW, ARRIVAL_ROW, LINE, LETTER = 17, 11, 13, 6.7  # heights; the width of one letter of a row
TRACK, CLOCK, NAME_LETTERS = 8, 50, 12
LANES_WIDTH, WIDEST_LANE = 168, 30
BANNER_LINES, ROW_LINES = 4, 2


class Layout:
    """Of one drawing. It is complete once it has been made.

    `kept`: the indexes of the events that have a row, `row`: the base line of each. `lanes` and `x`: the
    machines that have a line, and where. `tracks`: what lasted between machines, and in which column.
    """

    def __init__(self, tale: Tale, window: range, most: int, focus: Collection[int]) -> None:
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
                self.row[index] = y + (ARRIVAL_ROW if self.is_quiet(index) else ROW)
                y = self.row[index] + LINE * (len(self.lines(index)) - 1) * (not self.is_quiet(index))
            before = index
        last = self.window[0] - 1 if before is None and self.window else before
        y = self._gap(y, range(last + 1, self.window[-1] + 1)) if last is not None and self.window else y
        return y + 14

    def _pause(self, before: int, index: int) -> int:
        waited_ms = int(self.tale.times[index] - self.tale.times[before])
        return 3 * len(str(waited_ms)) if waited_ms else 0

    def is_quiet(self, index: int) -> bool:
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
        height = len(self.lines(index)) * LINE
        self.banners.append((y + 5, y + 7 + height))
        return y + 4 + height

    def lines(self, index: int) -> list[str]:
        is_banner = self.tale.events[index].node == DRIVER
        start, most = (self.left, BANNER_LINES) if is_banner else (self.words, ROW_LINES)
        letters, text = int((WIDTH - start - 3) / LETTER), words_of(self.tale, index)
        return textwrap.wrap(text, letters, max_lines=most, placeholder="…") or [""]

    # -- what the drawing asks -------------------------------------------------------------------------

    def pieces(self, start: int, end: int) -> list[tuple[int, int]]:
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

    def level(self, index: int) -> int:
        """The height of an event, or of the last one drawn before it."""
        below = [self.row[i] for i in self.kept if i <= index]
        return (below[-1] if below else self.top + 8) - 4

    def extent(self, span: Span) -> tuple[int, int]:
        y0 = self.level(span.begin) if span.begin in self.window else self.top + 6
        y1 = self.level(span.end) if span.end is not None and span.end in self.window else self.end
        return y0, max(y1, y0 + 4)

    def is_merged(self, packet: Packet, index: int) -> bool:
        return (
            packet.sent is not None and index != packet.sent and self.row.get(packet.sent) == self.row[index]
        )

    def is_straight(self, packet: Packet) -> bool:
        """Whether its arrival is the end of an arrow that begins in a row above."""
        return packet.sent is not None and packet.sent in self.row and not packet.lost
