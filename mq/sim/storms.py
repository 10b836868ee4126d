"""Storms: the faults that a seed draws for a mixed run · depth

What always holds: faults come in episodes; each begins something, mostly ends it, and fits before the load
ends. The draws are those of the stream that was handed in, so a seed names one storm for ever.
"""

from collections.abc import Sequence
from random import Random

from mq.sim.scenario import Fault

LOAD_ENDS_MS = 30_000


class Storm:
    """Draws the faults of a mixed run: episodes, each of which begins something and mostly ends it."""

    def __init__(
        self,
        draw: Random,
        brokers: Sequence[str] = ("a", "b"),
        others: Sequence[str] = ("n1", "n2", "c1", "c2"),
        first_ms: int = 1_000,
    ) -> None:
        self.draw = draw
        self.brokers = brokers
        self.others = others
        self.first_ms = first_ms
        self.episodes = [self._death, self._death, self._crash, self._other_death, self._cut, self._cut]
        self.episodes += [self._delay, self._reset, self._slow, self._full, self._failing, self._clock]

    def faults(self) -> list[Fault]:
        """One to six episodes."""
        found: list[Fault] = []
        for _ in range(self.draw.randrange(1, 7)):
            begin_ms = self.draw.randrange(self.first_ms, LOAD_ENDS_MS - 3_000)
            found += self.draw.choice(self.episodes)(begin_ms)
        return sorted(found, key=lambda fault: fault.at_ms)

    def _after(self, begin_ms: int, most_ms: int) -> int:
        return begin_ms + self.draw.randrange(20, most_ms)

    def _broker(self) -> str:
        return self.draw.choice(self.brokers)

    def _death(self, begin_ms: int) -> list[Fault]:
        name, death = self._broker(), self.draw.choice(("process", "power"))
        back_ms = self._after(begin_ms, 8_000)
        return [Fault.of(begin_ms, "kill", name, death), Fault.of(back_ms, "restart", name)]

    def _crash(self, begin_ms: int) -> list[Fault]:
        name, death = self._broker(), self.draw.choice(("process", "power"))
        when, calls = self.draw.choice(("before", "after")), self.draw.randrange(1, 300)
        back_ms = begin_ms + self.draw.randrange(1_000, 9_000)
        return [
            Fault.of(begin_ms, "crash", name, death, when, calls),
            Fault.of(back_ms, "restart", name),
        ]

    def _other_death(self, begin_ms: int) -> list[Fault]:
        name, death = self.draw.choice(self.others), self.draw.choice(("process", "power"))
        back_ms = self._after(begin_ms, 12_000)
        return [Fault.of(begin_ms, "kill", name, death), Fault.of(back_ms, "restart", name)]

    def _way(self) -> str:
        one = self._broker()
        other = self.draw.choice([name for name in (*self.others, *self.brokers, "*") if name != one])
        arrow = self.draw.choice((">", "<>", "<>"))
        return f"{one}{arrow}{other}" if self.draw.random() < 0.5 else f"{other}{arrow}{one}"

    def _cut(self, begin_ms: int) -> list[Fault]:
        way = self._way()
        return [Fault.of(begin_ms, "cut", way), Fault.of(self._after(begin_ms, 25_000), "heal", way)]

    def _delay(self, begin_ms: int) -> list[Fault]:
        way, ms = self._way(), self.draw.choice((5, 50, 400, 2_000))
        jitter_ms = self.draw.choice((0, ms))
        return [
            Fault.of(begin_ms, "delay", way, ms, jitter_ms),
            Fault.of(self._after(begin_ms, 15_000), "delay", way, 0),
        ]

    def _reset(self, begin_ms: int) -> list[Fault]:
        return [Fault.of(begin_ms, "reset", f"{self._broker()}<>{self.draw.choice(self.others)}")]

    def _mended(self, begin_ms: int, kind: str, *values: object) -> list[Fault]:
        name = self._broker()
        mended = Fault.of(self._after(begin_ms, 10_000), "mend", name)
        return [Fault.of(begin_ms, kind, name, *values), mended]

    def _slow(self, begin_ms: int) -> list[Fault]:
        return self._mended(begin_ms, "slow", self.draw.choice((5, 100, 1_000, 6_000)))

    def _full(self, begin_ms: int) -> list[Fault]:
        if self.draw.random() < 0.2:
            return self._mended(begin_ms, "readonly")
        return self._mended(begin_ms, "full", self.draw.choice((0, 1_000, 20_000)))

    def _failing(self, begin_ms: int) -> list[Fault]:
        calls = ("sync", "sync", "write_at", "create", "set_length", "replace", "sync_directory", "read_at")
        return self._mended(begin_ms, "fail", self.draw.choice(calls), self.draw.randrange(1, 6))

    def _clock(self, begin_ms: int) -> list[Fault]:
        by_ms = self.draw.choice((-3_600_000, -500, 700, 86_400_000))
        return [Fault.of(begin_ms, "clock", self._broker(), by_ms)]


class Losses(Storm):
    """Draws only what can cost one of two copies, so that few runs end without a loss that must be judged."""

    def __init__(self, draw: Random) -> None:
        super().__init__(draw, ("a", "as"), ("n", "c"), first_ms=5_000)
        self.episodes = [self._power, self._power, self._power, self._destroy, self._between, self._slow]
        self.episodes += [self._failing, self._death]

    def _power(self, begin_ms: int) -> list[Fault]:
        name, death = self._broker(), self.draw.choice(("power", "power", "torn"))
        dies = Fault.of(begin_ms, "kill", name, death)
        if self.draw.random() < 0.5:
            dies = Fault.of(begin_ms, "crash", name, death, "after", self.draw.randrange(1, 60))
        return [dies, Fault.of(begin_ms + self.draw.randrange(500, 6_000), "restart", name)]

    def _destroy(self, begin_ms: int) -> list[Fault]:
        gone = Fault.of(begin_ms, "destroy", self._broker())
        back = [Fault.of(self._after(begin_ms, 5_000), "restart", gone.target)]
        return [gone, *back * (self.draw.random() < 0.5)]

    def _between(self, begin_ms: int) -> list[Fault]:
        way = self.draw.choice(("a>as", "as>a", "a<>as"))
        if self.draw.random() < 0.3:
            late = [Fault.of(begin_ms, "delay", way, self.draw.choice((50, 400, 2_000)))]
            return [*late, Fault.of(self._after(begin_ms, 9_000), "delay", way, 0)]
        return [Fault.of(begin_ms, "cut", way), Fault.of(self._after(begin_ms, 9_000), "heal", way)]
