"""What was checked, with whom, and how it went: one row each, printed at once and as a table at the end."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Row:
    """One check. `problem` is empty when it held."""

    client: str
    check: str
    problem: str


@dataclass
class Report:
    """All rows so far."""

    rows: list[Row] = field(default_factory=list)

    def equal(self, client: str, check: str, got: object, expected: object) -> None:
        """The check holds when both are equal."""
        problem = "" if got == expected else f"got {_shown(got)}, expected {_shown(expected)}"
        self.add(client, check, problem)

    def add(self, client: str, check: str, problem: str = "") -> None:
        """One row, told at once."""
        self.rows.append(Row(client, check, problem))
        print(f"  {'ok  ' if not problem else 'FAIL'}  {client}: {check}", flush=True)
        if problem:
            print(f"        {problem}", flush=True)

    @contextmanager
    def part(self, client: str, title: str) -> Iterator[None]:
        """What goes wrong inside is one failed row; the parts behind it still run."""
        print(f"\n{client}: {title}", flush=True)
        try:
            yield
        except Exception as error:  # noqa: BLE001 - a client may fail in any way; the table must be printed
            traceback.print_exc(file=sys.stdout)
            self.add(client, title, f"{type(error).__name__}: {error}"[:2000])

    @property
    def failed(self) -> list[Row]:
        """The rows that did not hold."""
        return [row for row in self.rows if row.problem]

    def table(self) -> str:
        """client × check → ok."""
        width = max(len(row.client) for row in self.rows)
        checks = max(len(row.check) for row in self.rows)
        lines = [f"{'client':<{width}}  {'check':<{checks}}  result", "-" * (width + checks + 10)]
        for row in self.rows:
            lines.append(f"{row.client:<{width}}  {row.check:<{checks}}  {'FAIL' if row.problem else 'ok'}")
        return "\n".join(lines)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 600 else f"{text[:600]}… ({len(text)} characters)"
