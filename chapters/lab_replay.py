"""A run's journal in the terminal: a column for each machine, an event to a line, step by step.

    Enter     the next event            f     to the next fault, death or restart
    12        the next twelve           v     to the verdict
    a         all the rest              q     leave

What always holds: a step prints at most MOST_LINES lines; when it takes more events, the last of them are
printed, and a line says how many are not. At the end of the input the replay ends as with `q`.
"""

from collections.abc import Callable, Collection, Iterator, Sequence

from rich.console import Console
from rich.text import Text

from chapters.lab_journal import ALIVE, DARK, DRIVER, LIFE, Tale, is_trouble
from chapters.lab_words import clock, visible, words_of

MOST_LINES = 400
LINES_BETWEEN_HEADS = 20
NAME_LETTERS, CLOCK_LETTERS, LEAST_WORDS = 9, 10, 24
PROMPT = "[Enter] one event · NUMBER · f fault · v verdict · a all · q quit > "
PLAIN_PROMPT = PROMPT.replace("·", "|")
HELP = (
    "Enter: the next event; 12: the next twelve; f: to the next fault, death or restart; "
    "v: to the verdict; a: all; q: leave"
)
STYLES = {"dead": "bold red", "trouble": "yellow", "driver": "bold cyan", "focus": "reverse", "": ""}


class Page:
    """How lines look: lanes of characters, then words."""

    def __init__(self, tale: Tale, focus: Collection[int], width: int, is_ascii: bool) -> None:
        self.tale, self.focus, self.width = tale, set(focus), width
        self.is_ascii = is_ascii
        self.line, self.dead, self.way = ("|", ":", "-") if is_ascii else ("│", "┊", "─")
        letters = [min(NAME_LETTERS, len(visible(name))) + 1 for name in tale.machines]
        room = width - CLOCK_LETTERS - LEAST_WORDS
        self.lane = max(2, min(max(letters, default=2), room // max(1, len(letters))))
        self.at = {name: CLOCK_LETTERS + 1 + place * self.lane for place, name in enumerate(tale.machines)}
        self.words = CLOCK_LETTERS + 1 + len(tale.machines) * self.lane

    def head(self) -> Text:
        """The machines' names."""
        names = "".join(visible(name)[: self.lane - 1].ljust(self.lane) for name in self.tale.machines)
        return self._whole(f"{'seconds':>{CLOCK_LETTERS - 1}}  {names}", "bold")

    def row(self, index: int) -> Text:
        """One event."""
        event, packet = self.tale.events[index], self.tale.packet_of.get(index)
        canvas = list(" " * self.words)
        for name, at in self.at.items():
            state = self.tale.state(name, index)
            canvas[at] = self.line if state == ALIVE else " " if state == DARK else self.dead
        if packet is not None and packet.source in self.at and packet.target in self.at:
            self._arrow(canvas, index)
        elif event.node in self.at:
            canvas[self.at[event.node]] = self._mark(index)
        canvas[:CLOCK_LETTERS] = f"{clock(event.time_ms):>{CLOCK_LETTERS - 1}} "
        kind = self._kind(index)
        if kind == "driver":
            text = f"{clock(event.time_ms):>{CLOCK_LETTERS - 1}} == {words_of(self.tale, index)}"
        else:
            text = "".join(canvas) + words_of(self.tale, index)
        return self._whole(text, STYLES[kind])

    def _kind(self, index: int) -> str:
        event = self.tale.events[index]
        if event.node == DRIVER:
            return "driver"
        if index in self.focus:
            return "focus"
        return "dead" if event.kind in LIFE else "trouble" if is_trouble(event.kind) else ""

    def _mark(self, index: int) -> str:
        event = self.tale.events[index]
        if event.kind in ("killed", "disk destroyed"):
            return "X"
        return "^" if event.kind == "started" else "!" if is_trouble(event.kind) else "*"

    def _arrow(self, canvas: list[str], index: int) -> None:
        """It leaves as o---, and arrives from halfway on as -->, or ends there in an x."""
        packet = self.tale.packet_of[index]
        here, there = self.at[packet.source], self.at[packet.target]
        step, middle = 1 if there > here else -1, here + (there - here) // 2
        is_arrival = index == packet.arrived
        for at in range(middle, there, step) if is_arrival else range(here, middle + step, step):
            canvas[at] = self.way
        if is_arrival:
            canvas[there - step] = ">" if step > 0 else "<"
            return
        is_loss = index in packet.lost
        if not is_loss or packet.sent is None:
            canvas[here] = "o"
        if here != there and (is_loss or (not packet.lost and packet.arrived is None)):
            canvas[middle] = "x"

    def _whole(self, text: str, style: str) -> Text:
        """A line that fits, and that the terminal can spell."""
        if self.is_ascii:
            text = text.replace("→", ">").replace("…", "...").encode("ascii", "replace").decode()
        end = "..." if self.is_ascii else "…"
        text = text.rstrip()
        return Text(text if len(text) <= self.width else text[: self.width - len(end)] + end, style)


class Replay:
    """The events of a stretch of time, and how far they have been shown."""

    def __init__(
        self, tale: Tale, window: Sequence[int], console: Console, focus: Collection[int] = ()
    ) -> None:
        self.tale, self.window, self.console, self.focus = tale, list(window), console, focus
        self.page = Page(tale, focus, max(40, console.width), not console.encoding.lower().startswith("utf"))
        self.shown = 0  # so many events are behind us
        self._lines = 0

    def print_all(self, most: int = MOST_LINES) -> None:
        """Everything, or the `most` that tell the story, with a line where others were left out."""
        kept, before = self.tale.choose(self.window, most, self.focus), -1
        place = {index: at for at, index in enumerate(self.window)}
        for index in kept:
            self._left_out(self.window[before + 1 : place[index]])
            self._print(index)
            before = place[index]
        self._left_out(self.window[before + 1 :])
        self.shown = len(self.window)

    def step(self, to: int) -> None:
        """Print up to, but not with, the event at this place of the window; of too many, the last."""
        first = max(self.shown, to - MOST_LINES)
        self._left_out(self.window[self.shown : first])
        for index in self.window[first:to]:
            self._print(index)
        self.shown = max(self.shown, to)

    def ask(self, read: Callable[[str], str]) -> None:
        """Step as the reader of `read(prompt)` wants it, until the end, `q`, or EOFError."""
        self.step(min(1, len(self.window)))
        while self.shown < len(self.window):
            try:
                answer = read(PLAIN_PROMPT if self.page.is_ascii else PROMPT).strip().lower()
            except (EOFError, KeyboardInterrupt):
                self.console.print()
                return
            if answer in ("q", "quit"):
                return
            to = self._where(answer)
            if to is None:
                self._say(HELP)
            else:
                self.step(to)
        self._say("That was the last event.")

    def _where(self, answer: str) -> int | None:
        """The place up to which an answer leads; None: not understood."""
        if answer.isascii() and answer.isdecimal():
            return min(len(self.window), self.shown + max(1, int(answer[:9])))
        ways: dict[str, Callable[[], int]] = {
            "": lambda: self.shown + 1,
            "f": lambda: self._next(self._is_fault),
            "v": lambda: self._next(lambda index: self.tale.events[index].kind == "verdict"),
            "a": lambda: len(self.window),
        }
        return ways[answer]() if answer in ways else None

    def _next(self, is_meant: Callable[[int], bool]) -> int:
        for place in range(self.shown, len(self.window)):
            if is_meant(self.window[place]):
                return place + 1
        return len(self.window)

    def _is_fault(self, index: int) -> bool:
        event = self.tale.events[index]
        return event.kind in LIFE or (event.node == DRIVER and event.kind.startswith("fault"))

    def _left_out(self, skipped: Sequence[int]) -> None:
        if skipped:
            self._say(f"{' ' * (CLOCK_LETTERS + 1)}… {self.tale.count(skipped)} not shown", "dim")

    def _print(self, index: int) -> None:
        if self._lines % LINES_BETWEEN_HEADS == 0:
            self._put(self.page.head())
        self._lines += 1
        self._put(self.page.row(index))

    def _say(self, text: str, style: str = "") -> None:
        for line in self._folded(text):
            self._put(self.page._whole(line, style))

    def _folded(self, text: str) -> Iterator[str]:
        while len(text) > self.page.width:
            cut = text.rfind(" ", 0, self.page.width)
            cut = cut if cut > 0 else self.page.width
            yield text[:cut]
            text = text[cut:].lstrip()
        yield text

    def _put(self, text: Text) -> None:
        self.console.print(text, soft_wrap=True, highlight=False)
