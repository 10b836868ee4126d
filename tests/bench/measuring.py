"""Case and Result: what one figure is, and how it is taken.

What always holds: the cases of a row take turns, round by round, so that whatever else the machine does falls
on all of them; a figure is the median of the rounds with the smallest and the largest beside it; a ratio is
made within a round. A sample whose messages were not all there afterwards is a failure, never a figure.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path


class BenchFailed(Exception):
    """A figure cannot be given: the sentence says what did not hold."""


@dataclass(frozen=True)
class Settings:
    """Of one run. `scratch` is a folder on the disk that is measured."""

    scratch: Path
    seconds: float = 1.0
    rounds: int = 5
    oracle: bool = False
    most_queues: int = 50_000

    def enough(self, per_second: int) -> int:
        """An amount of work for something that does about so much in a second."""
        return max(int(self.seconds * per_second), 64)


@dataclass(frozen=True)
class Sample:
    """One figure; the amount of work and the seconds that it took; what was checked, in words."""

    figure: float
    amount: int
    seconds: float
    checked: str


def rate(amount: int, seconds: float, checked: str) -> Sample:
    """So much a second."""
    return Sample(amount / seconds, amount, seconds, checked)


@dataclass(frozen=True)
class Case:
    """Something that can be measured again and again. `run` is told how much work to do."""

    name: str
    unit: str
    how: str
    """The client, its window, sizes: what the figure depends on."""
    run: Callable[[int], Sample]
    beside: str = ""
    """The case of the same row whose figure this one is divided by, round by round."""
    pilot: int = 2_000
    """How much work the first warm-up gets; later amounts follow from what it took."""
    warm_ups: int = 1
    is_sized: bool = True
    """Whether `run` obeys the amount, so that a round can be given the seconds that were asked for."""
    is_once: bool = False
    """Measured once, without a warm-up: it takes long, or cannot be repeated."""


Row = Callable[[Settings], AbstractContextManager[Sequence[Case]]]
"""Brings up what its cases need, gives them, and takes everything down again. Its docstring is its title."""


@dataclass
class Result:
    """The figures of one case, one for each round."""

    case: Case
    figures: list[float] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)
    checked: str = ""

    @property
    def median(self) -> float:
        """The figure that is quoted."""
        return statistics.median(self.figures)


def take_turns(cases: Sequence[Case], settings: Settings) -> list[Result]:
    """Warm every case up, then let them take turns. Raises BenchFailed."""
    results = [Result(case) for case in cases]
    amounts = [_warmed_up(case, settings.seconds) for case in cases]
    for turn in range(settings.rounds):
        for at, (case, result) in enumerate(zip(cases, results, strict=True)):
            if turn and case.is_once:
                continue
            sample = case.run(amounts[at])
            amounts[at] = _next_amount(case, sample, settings.seconds)
            result.figures.append(sample.figure)
            result.checked = sample.checked
        _compare(results)
    return results


def _warmed_up(case: Case, seconds: float) -> int:
    """How much work fills the seconds, once everything is warm."""
    amount = case.pilot
    for _ in range(0 if case.is_once else case.warm_ups):
        amount = _next_amount(case, case.run(amount), seconds)
    return amount


def _next_amount(case: Case, sample: Sample, seconds: float) -> int:
    return max(int(sample.amount / sample.seconds * seconds), 64) if case.is_sized else case.pilot


def _compare(results: Sequence[Result]) -> None:
    """Ratios of the round that has just ended."""
    now = {result.case.name: result.figures[-1] for result in results}
    for result in results:
        if result.case.beside:
            result.ratios.append(now[result.case.name] / now[result.case.beside])
