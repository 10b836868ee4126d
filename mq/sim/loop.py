"""VirtualLoop: asyncio's loop with a clock that jumps · core

What always holds: calls run in the order of (deadline, when they were asked for). Time stands still while
anything can run, then moves exactly to the next deadline. A call whose life is over is dropped. Nothing here
depends on the real clock, on addresses of objects or on hash seeds.

It stands on `AbstractEventLoop` alone, so it also runs inside a page whose own loop is running: it takes that
loop's place for the length of a run and gives it back.
"""

import asyncio
import heapq
import math
from collections import deque
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import Any, TypeVarTuple

from mq.sim.life import LIFE, WORLD, Crashed, Life

Ts = TypeVarTuple("Ts")
MAX_STEPS_PER_RUN = 20_000_000
MAX_STEPS_AT_ONE_INSTANT = 1_000_000
MAX_AWAITS_OF_THE_DEAD = 100


class Deadlock(Exception):
    """Nothing is left to run, and the main coroutine is not done. The text names who waits where."""


class Spin(Exception):
    """The steps of a run, or of one instant, passed their limit: something calls itself for ever."""


class TimeIsUp(Exception):
    """The next call lies behind the run's deadline."""


class Call(asyncio.TimerHandle):
    """One call to come. It knows its life, and is its own cancellation."""

    __slots__ = ("args", "callback", "context", "life", "when_s")

    def __init__(
        self, when_s: float, callback: Callable[..., object], args: tuple[Any, ...], context: Context | None
    ) -> None:
        # asyncio's own constructor is not called: all that it would set is replaced here.
        self.when_s = when_s
        self.callback: Callable[..., object] | None = callback
        self.args = args
        self.context = copy_context() if context is None else context
        self.life: Life = self.context.get(LIFE, WORLD)

    def cancel(self) -> None:
        self.callback = None
        self.args = ()

    def cancelled(self) -> bool:
        return self.callback is None

    def when(self) -> float:
        return self.when_s

    def __repr__(self) -> str:
        name = repr_of(self.callback) if self.callback is not None else "cancelled"
        return f"<Call at {self.when_s} of {self.life.node}: {name}>"


class VirtualLoop(asyncio.AbstractEventLoop):
    """What Task, Future, Event, Lock, Queue, gather and timeout need of a loop, in virtual time."""

    def __init__(self) -> None:
        self._now_s = 0.0  # not the epoch: adding milliseconds to a large number loses them
        self._sequence = 0
        self._ready: deque[Call] = deque()
        self._timers: list[tuple[float, int, Call]] = []
        self._tasks: dict[asyncio.Task[Any], Life] = {}
        self._task_number = 0
        self._running = False
        self._closed = False
        self.steps = 0
        self.deadline_s = math.inf
        self.max_steps = MAX_STEPS_PER_RUN
        self.on_error: Callable[[str, Exception, Life], None] = lambda what, error, life: None

    # -- what asyncio asks of a loop -------------------------------------------------------------------

    def time(self) -> float:
        return self._now_s

    def call_soon(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> Call:
        call = Call(self._now_s, callback, args, context)
        self._ready.append(call)
        return call

    call_soon_threadsafe = call_soon

    def call_later(
        self, delay: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> Call:
        return self.call_at(self._now_s + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> Call:
        if when <= self._now_s:
            return self.call_soon(callback, *args, context=context)
        call = Call(when, callback, args, context)
        self._sequence += 1
        heapq.heappush(self._timers, (when, self._sequence, call))
        return call

    def create_future(self) -> "asyncio.Future[Any]":
        return asyncio.Future(loop=self)

    def create_task(
        self, coro: Any, *, name: str | None = None, context: Context | None = None, **options: Any
    ) -> "asyncio.Task[Any]":
        context = copy_context() if context is None else context
        self._task_number += 1  # asyncio's own default names count through the whole process
        name = name or f"task-{self._task_number}"
        task = asyncio.Task(coro, loop=self, name=name, context=context, **options)
        task._log_destroy_pending = False  # type: ignore[attr-defined]  # a dead task is pending for ever
        self._tasks[task] = context.get(LIFE, WORLD)
        task.add_done_callback(self._forget, context=WORLD.context)
        return task

    def _forget(self, task: "asyncio.Task[Any]") -> None:
        self._tasks.pop(task, None)

    def is_running(self) -> bool:
        return self._running

    def is_closed(self) -> bool:
        return self._closed

    def get_debug(self) -> bool:
        return False

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Nothing: asyncio calls it when objects are collected, at moments that no seed decides."""

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        """Nothing, for the same reason."""

    # -- running ---------------------------------------------------------------------------------------

    def run_until_complete(self, future: Any) -> Any:
        """Run until `future` (or a coroutine) is done; its result. Raises Deadlock, Spin, TimeIsUp."""
        main = future if isinstance(future, asyncio.Future) else self.create_task(future, name="main")
        outer = asyncio._get_running_loop()
        outer_task = _swap_current_task(outer, None)
        asyncio._set_running_loop(self)
        self._running = True
        try:
            self._run(main)
        finally:
            self._running = False
            asyncio._set_running_loop(outer)
            _swap_current_task(outer, outer_task)
        return main.result()

    def _run(self, main: "asyncio.Future[Any]") -> None:
        ready, last_step = self._ready, self.steps + self.max_steps
        instant_began = self.steps
        while not main.done():
            if not ready:
                self._advance()
                instant_began = self.steps
            call = ready.popleft()
            if call.callback is None or not call.life.alive:
                continue
            self.steps += 1
            if self.steps > last_step or self.steps - instant_began > MAX_STEPS_AT_ONE_INSTANT:
                raise Spin(self._spin_text(call, last_step))
            try:
                call.context.run(call.callback, *call.args)
            except Crashed:
                pass  # it died in the middle of this call; there is nobody left to tell
            except Exception as error:  # noqa: BLE001  # whatever a callback raises, the loop goes on
                self.on_error(repr_of(call.callback), error, call.life)

    def _advance(self) -> None:
        """Move the clock to the next deadline and make its calls ready."""
        timers = self._timers
        while timers and (timers[0][2].callback is None or not timers[0][2].life.alive):
            heapq.heappop(timers)
        if not timers:
            raise Deadlock("nothing is left to run, but these wait:\n" + "\n".join(self.waiting()))
        when_s = timers[0][0]
        if when_s > self.deadline_s:
            self._now_s = max(self._now_s, self.deadline_s)
            raise TimeIsUp("these still wait:\n" + "\n".join(self.waiting()))
        self._now_s = when_s
        while timers and timers[0][0] == when_s:
            self._ready.append(heapq.heappop(timers)[2])

    def _spin_text(self, call: Call, last_step: int) -> str:
        limit = (
            f"max_steps={self.max_steps}"
            if self.steps > last_step
            else f"MAX_STEPS_AT_ONE_INSTANT={MAX_STEPS_AT_ONE_INSTANT}"
        )
        return (
            f"{limit} passed at {self._now_s * 1000:.3f} ms; next would be {call!r}; these wait:\n"
            + "\n".join(self.waiting())
        )

    # -- the living and the dead -----------------------------------------------------------------------

    def waiting(self) -> list[str]:
        """One line for each live task: its name, its node, and where its coroutine is suspended."""
        return [
            f"  {task.get_name()} on {life.node} at {suspended_at(task.get_coro())}{_waits_for(task)}"
            for task, life in self._tasks.items()
            if life.alive and not task.done()
        ]

    def graveyard(self) -> list["asyncio.Task[Any]"]:
        """Tasks whose life is over. Holding them here is what keeps their `finally` blocks from running."""
        return [task for task, life in self._tasks.items() if not life.alive]

    def close(self) -> None:
        """End it all. Every life must be over: the `finally` blocks that now run find every door shut."""
        self._closed = True
        self._ready.clear()
        self._timers.clear()
        for task in list(self._tasks):
            _throw_away(task.get_coro())
        self._tasks.clear()
        self._ready.clear()


def _throw_away(coroutine: Any) -> None:
    for _ in range(MAX_AWAITS_OF_THE_DEAD):
        try:
            coroutine.close()
            return
        except (Exception, Crashed):  # noqa: BLE001
            continue  # a `finally` that met a shut door, or awaited: then it stands there now, so once more


def new_loop() -> VirtualLoop:
    """A loop at time 0."""
    return VirtualLoop()  # type: ignore[abstract]  # sockets, signals and processes are left out on purpose


def _swap_current_task(loop: asyncio.AbstractEventLoop | None, task: Any) -> Any:
    """From 3.14 on the current task belongs to the thread, not to the loop: put it aside too."""
    swap = getattr(asyncio.tasks, "_swap_current_task", None)
    return swap(loop, task) if swap is not None and loop is not None else None


def repr_of(callback: Callable[..., object]) -> str:
    """A callback's name without its address."""
    return getattr(callback, "__qualname__", type(callback).__name__)


def _waits_for(task: "asyncio.Task[Any]") -> str:
    """` > task NAME` when it waits for another task: then that one's line says what is lacking."""
    other = getattr(task, "_fut_waiter", None)
    return f" > task {other.get_name()}" if isinstance(other, asyncio.Task) else ""


def suspended_at(coroutine: Any) -> str:
    """The functions down to the one that waits: `consume (demo.py:12) > Event.wait (locks.py:213)`."""
    chain = []
    while (frame := getattr(coroutine, "cr_frame", None)) is not None:
        name = frame.f_code.co_filename.rpartition("/")[2]
        chain.append(f"{coroutine.__qualname__} ({name}:{frame.f_lineno})")
        coroutine = coroutine.cr_await
    return " > ".join(chain) or repr(coroutine)
