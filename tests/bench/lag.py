"""How far a slave is behind while its master takes sends: both are asked, again and again, how far they are.

What always holds: each is asked over a connection of its own by a thread of its own, with the question that
an operator's tool asks (code 28). What they answer is a moment old when it is here, so a lag is known to
within one question, and how long a question takes is told beside it. A broker answers between two reads of
what is sent to it, and a read may bring all the sends of a window: that is how long a question takes.
"""

from __future__ import annotations

import statistics
import threading
import time
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

from tests.bench.load import Fault, connected, log_end
from tests.bench.measuring import BenchFailed

PAUSE_S = 0.002  # between two questions, so that asking is not the load
LAST_S = 20.0


class Look(NamedTuple):
    """One answer: when it was asked for, when it was here, and the physical offset at which the log ends."""

    asked_s: float
    here_s: float
    end: int


class Lags(NamedTuple):
    """While the master's log grew."""

    ms: list[float]
    """From each answer of the master to the slave's first answer that had reached the same end."""
    bytes: list[int]
    """By how much each answer of the master was ahead of the slave's newest, which is older: at most that."""
    question_ms: float
    """How long a question took: the median."""


class Watch:
    """Asks one broker until it is stopped; then once more."""

    def __init__(self, address: str) -> None:
        self.looks: list[Look] = []
        self.trouble: Exception | None = None
        self._address = address
        self._is_over = threading.Event()
        self._has_looked = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"watch {address}", daemon=True)

    def start(self) -> None:
        """Returns after the first look."""
        self._thread.start()
        self._has_looked.wait(LAST_S)

    def stop(self) -> None:
        """Returns after the last look. Raises BenchFailed when there was trouble."""
        self._is_over.set()
        self._thread.join(LAST_S)
        if self.trouble is not None or not self.looks:
            raise BenchFailed(f"{self._address} was not watched to the end: {self.trouble or 'no answer'}")

    def _run(self) -> None:
        try:
            with connected(self._address) as wire:
                is_last = False
                while not is_last:
                    is_last = self._is_over.wait(PAUSE_S)
                    asked_s = time.perf_counter()
                    end = log_end(wire)
                    self.looks.append(Look(asked_s, time.perf_counter(), end))
                    self._has_looked.set()
        except (
            Fault,
            OSError,
            ValueError,
            KeyError,
        ) as error:  # told by stop(), to whoever waits for figures
            self.trouble = error
            self._has_looked.set()


@contextmanager
def watching(master: str, slave: str) -> Iterator[tuple[Watch, Watch]]:
    """Both are asked while the block runs. Raises BenchFailed."""
    watches = Watch(master), Watch(slave)
    with ExitStack() as stack:
        for watch in watches:
            stack.callback(watch.stop)
            watch.start()
        yield watches


def lags(master: Sequence[Look], slave: Sequence[Look]) -> Lags:
    """What the answers say together. Raises BenchFailed when the log never grew or was never reached."""
    first, last = master[0].end, master[-1].end
    if first == last:
        raise BenchFailed("the master's log did not grow while it was watched")
    if slave[-1].end < last:
        raise BenchFailed(f"the slave's log ends at {slave[-1].end:,}, its master's at {last:,}")
    begin = bisect_right(master, first, key=_end)
    growing = master[begin : bisect_left(master, last, key=_end) + 1]
    ms, behind = [], []
    for look in growing:
        reached = slave[bisect_left(slave, look.end, key=_end)]
        ms.append(max(reached.here_s - look.here_s, 0.0) * 1000)
        newest = bisect_right(slave, look.here_s, key=_here_s) - 1
        behind.append(max(look.end - slave[newest].end, 0))
    questions = [look.here_s - look.asked_s for look in growing]
    return Lags(ms, behind, statistics.median(questions) * 1000)


def _end(look: Look) -> int:
    return look.end


def _here_s(look: Look) -> float:
    return look.here_s
