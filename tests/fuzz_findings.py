"""What the fuzzer looks for, and how a target tells it: faults, each with the command that shows it again."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

SLOW_S = 1.0  # CPU seconds of one case: more is a fault
HANG_S = 20.0  # and then it is ended
SHOWN_BYTES = 300
FAULTS_KEPT = 20  # of one block


class TooSlow(BaseException):
    """A case was ended from outside. Not an Exception: nothing under test may take it for its own."""


@dataclass(frozen=True)
class Fault:
    """Something that must not be. `seed` and `case` lead there again."""

    target: str
    seed: int
    case: int
    what: str
    data: bytes

    @property
    def replay(self) -> str:
        """The command that shows it."""
        return f"python -m tests.fuzz --replay {self.target}:{self.seed}:{self.case}"

    def __str__(self) -> str:
        shown = self.data[:SHOWN_BYTES].hex() + ("…" if len(self.data) > SHOWN_BYTES else "")
        return f"{self.target}: {self.what}\n    {self.replay}\n    {len(self.data)} bytes: {shown}"


@dataclass
class Notes:
    """What one block of one target has found so far."""

    target: str
    seed: int
    case: int = 0
    faults: list[Fault] = field(default_factory=list)
    slowest_s: float = 0.0
    data: bytes = b""

    def fault(self, what: str, data: bytes | None = None) -> None:
        """Note one; many of one block are one problem."""
        if len(self.faults) < FAULTS_KEPT:
            shown = self.data if data is None else data
            self.faults.append(Fault(self.target, self.seed, self.case, what, shown))

    def raised(self, error: BaseException, where: str) -> None:
        """An exception that must not be."""
        place = _innermost(error)
        self.fault(f"{where} raised {type(error).__name__} at {place}: {str(error)[:200]}")

    @contextmanager
    def one(self, case: int, data: bytes) -> Iterator[None]:
        """One case: what escapes it is a fault, and so is too much time."""
        self.case, self.data = case, data
        began = time.process_time()
        try:
            yield
        except Exception as error:  # noqa: BLE001 - that nothing escapes is what is tested
            self.raised(error, "the case")
        took = time.process_time() - began
        self.slowest_s = max(self.slowest_s, took)
        if took > SLOW_S:
            self.fault(f"took {took:.1f} s of CPU time")


def _innermost(error: BaseException) -> str:
    trace = error.__traceback__
    place = "?"
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if "/mq/" in file or place == "?":
            place = f"{file.rpartition('/mq/')[2]}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place


@contextmanager
def watched(seconds: float = HANG_S) -> Iterator[None]:
    """Whatever takes longer than this is ended with TooSlow. Main thread only."""

    def ring(signum: int, frame: FrameType | None) -> None:
        raise TooSlow(f"{seconds:.0f} s of CPU time were not enough")

    before = signal.signal(signal.SIGVTALRM, ring)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
