"""A run as tables for people and as JSON for programs."""

from __future__ import annotations

import datetime
import os
import statistics
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.bench.measuring import Result, Settings
from tests.measure import machine

QUIET_LOAD = 0.5


def headline(settings: Settings) -> str:
    """Machine, Python, how long and how often; how busy the machine was before."""
    told = machine()
    load = f"load before {os.getloadavg()[0]:.2f}"
    if os.getloadavg()[0] > QUIET_LOAD:
        load += " (busy: every figure is too low)"
    rounds = f"median of {settings.rounds} rounds of {settings.seconds:g} s that take turns, min – max"
    return f"{told['cpu']}, {told['cores']} cores, {told['python']}, {told['system']}; {load}; {rounds}"


def show(console: Console, title: str, results: Sequence[Result]) -> None:
    """One row's table."""
    table = Table(title=title, title_justify="left", title_style="bold", expand=True)
    table.add_column("what", ratio=3)
    table.add_column("median", justify="right", no_wrap=True)
    table.add_column("min – max", justify="right", no_wrap=True)
    table.add_column("ratio", ratio=2)
    table.add_column("client, window, and what was checked", ratio=5, style="dim")
    for result in results:
        case = result.case
        said = f"{case.how}. {result.checked}" if result.checked else case.how
        span = f"{number(min(result.figures))} – {number(max(result.figures))}"
        table.add_row(case.name, f"{number(result.median)} {case.unit}", span, ratio(result), said)
    console.print(table)


def number(value: float) -> str:
    """With three or four digits that mean something."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def ratio(result: Result) -> str:
    """`0.95 (0.93 – 0.97) of echo`; empty without a base."""
    if not result.ratios:
        return ""
    middle, least, most = statistics.median(result.ratios), min(result.ratios), max(result.ratios)
    return f"{middle:.2f} ({least:.2f} – {most:.2f}) of {result.case.beside}"


def to_json(settings: Settings, found: dict[str, Sequence[Result]]) -> dict[str, Any]:
    """Everything that was measured, round by round."""
    return {
        "machine": machine(),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "seconds": settings.seconds,
        "rounds": settings.rounds,
        "rows": {
            name: [
                {
                    "case": result.case.name, "unit": result.case.unit, "figures": result.figures,
                    "beside": result.case.beside, "ratios": result.ratios, "how": result.case.how,
                    "checked": result.checked,
                }
                for result in results
            ]
            for name, results in found.items()
        },
    }  # fmt: skip
