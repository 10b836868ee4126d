"""Show: what a learner sees, on 80 columns, in her language.

A verdict is shown as: the tests in their order, the first that is broken with its sentence, the two byte
strings with carets under what differs, and the trace folded into one line.
"""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.panel import Panel
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text as RichText

from exercises.catalogue import Exercise, pick, say, words
from exercises.judge import Verdict
from exercises.progress import Progress
from exercises.prose import flowed, pad
from exercises.splice import symbol_node

MOST_ROWS = 2  # of bytes that differ
MOST_PRINTED_LINES = 12
PANEL_COLUMNS = 6  # what its frame takes


class Screen:
    """A console and a language."""

    def __init__(self, language: str, console: Console | None = None) -> None:
        self.language = language
        self.console = console or Console(highlight=False)
        self.console.width = min(self.console.width, 80)

    def word(self, id: str, /, **values: object) -> str:
        """One of the runner's own sentences."""
        return say(words()[id], self.language, values)

    def line(self, id: str, style: str = "", /, **values: object) -> None:
        """Show it."""
        self.console.print(RichText(self.word(id, **values), style))

    def space(self) -> None:
        """An empty line."""
        self.console.print()

    # Overview.

    def overview(self, exercises: Sequence[Exercise], progress: Progress) -> None:
        """All exercises, a line each."""
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
        for one in exercises:
            state = progress.of(one.id)
            mark = "[green]✔[/]" if state.passed else "[yellow]…[/]" if state.started else "[dim]·[/]"
            how = self.word("ui_hints_used", count=state.hints) if state.hints else ""
            how = self.word("ui_solution_seen") if state.solved else how
            kind = self.word(f"kind_{one.kind.replace(' ', '_')}")
            minutes = self.word("ui_minutes", minutes=one.minutes)
            table.add_row(
                mark, one.id, escape(pick(one.title, self.language)), kind, minutes, f"[dim]{how}[/]"
            )
        self.console.print(Padding(table, (0, 2)))

    # A verdict.

    def heading(self, exercise: Exercise) -> None:
        """Id and title."""
        title = escape(pick(exercise.title, self.language))
        self.console.print(f"\n[bold]{exercise.id}[/] · [bold]{title}[/]\n")

    def verdict(self, exercise: Exercise, verdict: Verdict, unfold: bool) -> None:
        """What came of a check."""
        self.heading(exercise)
        for name in verdict.stages:
            if name in verdict.held:
                self._test(exercise, verdict, name, "[green]✔[/]")
        if verdict.test:
            self._test(exercise, verdict, verdict.test, "[red]✘[/]")
        left = len(verdict.stages) - len(verdict.held) - bool(verdict.test)
        if left > 0:
            self.console.print(f"  [dim]· {self.word('ui_more_tests', count=left)}[/]")
        if verdict.passed:
            return
        self.space()
        sentence = exercise.sentence(verdict.id, verdict.values, self.language)
        sentence = (
            sentence if verdict.id == "syntax" else flowed(sentence, self.console.width - PANEL_COLUMNS)
        )
        parts: list[RenderableType] = [RichText(sentence)]
        if verdict.difference:
            parts += self._difference(verdict.difference)
        if verdict.id == "not_written" and verdict.test:
            parts += self._example(exercise)
        self.console.print(Panel(Group(*parts), border_style="red", padding=(1, 2)))
        self._printed(verdict.printed)
        self._trace(verdict, unfold)

    def _test(self, exercise: Exercise, verdict: Verdict, name: str, mark: str) -> None:
        stage = self.word(f"stage_{verdict.stages[name]}")
        self.console.print(
            f"  {mark} [dim]{stage:<10}[/] {escape(pick(exercise.tests[name], self.language))}"
        )

    def _difference(self, difference: Mapping[str, Any]) -> list[RenderableType]:
        lines = RichText(no_wrap=True, overflow="crop")
        names = self.word("ui_expected"), self.word("ui_got")
        for label, expected, got, carets in rows_that_differ(**difference)[:MOST_ROWS]:
            lines.append(f"\n{label}\n", "dim")
            for name, text in zip(names, (expected, got), strict=True):
                lines.append(f"  {pad(name, 10)}", "dim")
                lines.append(f"{text or self.word('ui_nothing')}\n")
            lines.append(f"{' ' * 12}{carets.rstrip()}\n", "red")
        lines.rstrip()
        return [lines] if lines else []

    def _example(self, exercise: Exercise) -> list[RenderableType]:
        """One input, one output."""
        title = RichText(f"\n{self.word('ui_the_example')}\n", "dim")
        return [title, RichText(pick(exercise.example, self.language))]

    def _printed(self, text: str) -> None:
        lines = text.splitlines()
        if lines:
            self.console.print(RichText(self.word("ui_printed"), "dim"))
            for line in lines[:MOST_PRINTED_LINES]:
                self.console.print(RichText(f"  {line}", no_wrap=True, overflow="ellipsis"))
            if len(lines) > MOST_PRINTED_LINES:
                self.console.print(RichText(f"  … {len(lines) - MOST_PRINTED_LINES}", "dim"))

    def _trace(self, verdict: Verdict, unfold: bool) -> None:
        if not verdict.trace:
            return
        if not unfold:
            count = len(verdict.trace)
            place = verdict.values.get("place") or self.word("ui_no_line")
            self.line("ui_folded", "dim", count=count, place=place)
            return
        for file, line, function in verdict.trace:
            self.console.print(
                RichText(f"  {file}:{line} {function}", "dim", no_wrap=True, overflow="ellipsis")
            )

    # Texts.

    def story(self, exercise: Exercise) -> None:
        """What it is about."""
        self.heading(exercise)
        self.console.print(RichText(flowed(pick(exercise.story, self.language), self.console.width)))

    def hint(self, exercise: Exercise, number: int) -> None:
        """One of the three."""
        title = self.word("ui_hint_title", number=number, count=len(exercise.hints))
        self._panel(pick(exercise.hints[number - 1], self.language), title)

    def solution(self, exercise: Exercise) -> None:
        """Ours."""
        for symbol in exercise.symbols:
            node = symbol_node(symbol)
            lines = symbol.path.read_text("utf-8").splitlines()[node.lineno - 1 : node.end_lineno]
            self.console.print(RichText(f"\n{symbol.module}:{symbol.name}", "bold"))
            code = textwrap.dedent("\n".join(lines))
            shown = Syntax(code, "python", background_color="default").highlight(code)
            self.console.print(shown, soft_wrap=True)  # a line of code stays one line, to be copied

    def debrief(self, exercise: Exercise) -> None:
        """What to think of it afterwards."""
        self._panel(pick(exercise.debrief, self.language), self.word("ui_debrief"))

    def _panel(self, text: str, title: str) -> None:
        prose = RichText(flowed(text, self.console.width - PANEL_COLUMNS))
        self.console.print(Panel(prose, title=title, title_align="left", padding=(1, 2)))


def rows_that_differ(
    expected: str, got: str, fields: Sequence[int], row: str, first: int
) -> list[tuple[str, str, str, str]]:
    """(label, expected, got, carets) of each row that differs; bytes are given and shown in hexadecimal."""
    width = 2 * sum(fields)
    found = []
    for number, at in enumerate(range(0, max(len(expected), len(got)), width), start=first):
        left, right = expected[at : at + width], got[at : at + width]
        if left != right:
            both = zip(left.ljust(width), right.ljust(width), strict=True)
            carets = "".join("^" if one != other else " " for one, other in both)
            label = f"{row} {number}".strip()
            found.append(
                (label, in_fields(left, fields), in_fields(right, fields), in_fields(carets, fields, " "))
            )
    return found


def in_fields(text: str, fields: Sequence[int], bar: str = "|") -> str:
    """Cut into the row's fields."""
    parts, at = [], 0
    for size in fields:
        parts.append(text[at : at + 2 * size])
        at += 2 * size
    return f" {bar} ".join(part for part in parts if part)
