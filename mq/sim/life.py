"""Life: one incarnation of a node, and what it means that it is over · core

What always holds: every callback, task and timer carries, in its context, the life that it belongs to. When
that life is over nothing of it runs again and no door opens for it: death cancels nothing and closes nothing,
because a process that loses its power does not get to run its `finally` blocks either.
"""

import random
from collections.abc import Callable
from contextvars import Context, ContextVar


class Crashed(BaseException):
    """A door was used by code whose life is over. Not an Exception: no handler of the floors may take it."""


class NodeDied(Exception):
    """The node died while the driver waited for something that ran on it."""


class Life:
    """One life of one node. `context` is where its callbacks run; `endings` are called once when it dies."""

    __slots__ = ("alive", "context", "endings", "node", "number")

    def __init__(self, node: str, number: int) -> None:
        self.node = node
        self.number = number
        self.alive = True
        self.endings: list[Callable[[], None]] = []
        self.context = Context()
        self.context.run(LIFE.set, self)

    def end(self) -> None:
        """Shut every door. What is under way is left where it stands."""
        self.alive = False
        endings, self.endings = self.endings, []
        for ending in endings:
            ending()

    def check(self) -> None:
        """Raise Crashed when this life is over."""
        if not self.alive:
            raise Crashed(f"life {self.number} of {self.node} is over: ask the simulation for its new node")


LIFE: ContextVar[Life] = ContextVar("LIFE")
WORLD = Life("world", 0)  # cables, platters and clocks: it never dies


def stream(seed: int, purpose: str) -> random.Random:
    """The random numbers for one purpose. Streams share nothing, so a new draw in one moves no other."""
    return random.Random(f"{seed}/{purpose}")
