"""Requests and replies over one connection, in both directions · core

What always holds: a request that is not one-way gets exactly one reply, now or later, with its own `opaque`
and in its own codec. A reply to a connection that has closed is dropped. An unknown code is answered with 3,
a handler's exception with its response code (1 for surprises) and a remark; neither harms the connection.

Both ends may ask: `opaque` counts per asker, and bit 0 of the flag tells a reply from a request.

Real: org.apache.rocketmq.remoting.netty.NettyRemotingAbstract (equivalent)
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import TypeVar

from mq.runtime.errors import MQError
from mq.runtime.node import Node, Timer
from mq.wire.codec import decode_frame, encode_frame
from mq.wire.codes import ResponseCode, request_name
from mq.wire.command import ONEWAY_FLAG, RESPONSE_FLAG, RemotingCommand
from mq.wire.errors import RemoteError, RequestTimeout, Unreachable
from mq.wire.frame import FRAME_MAX_LENGTH, FrameProtocol
from mq.wire.headers import decode_header
from mq.wire.knownheaders import KnownHeaders

H = TypeVar("H")

MAX_PENDING_INVOKES = 65_535  # RocketMQ's clientAsyncSemaphoreValue


class Request:
    """One request as a processor sees it."""

    __slots__ = ("_answered", "command", "connection")

    def __init__(self, command: RemotingCommand, connection: Connection) -> None:
        self.command = command
        self.connection = connection
        self._answered = False

    @property
    def code(self) -> int:
        """What is asked for: a RequestCode, or a number that we do not know."""
        return self.command.code

    @property
    def body(self) -> bytes:
        """The bytes behind the header."""
        return self.command.body

    @property
    def ext_fields(self) -> dict[str, str]:
        """The header's own fields as they came."""
        return self.command.ext_fields or {}

    def header(self, kind: type[H]) -> H:
        """The typed header. Raises HeaderError, which becomes the answer."""
        return decode_header(kind, self.command.ext_fields)

    def reply(self, response: RemotingCommand) -> None:
        """Answer, once, now or later. Nothing is sent for a one-way request or on a closed connection."""
        command = self.command
        response.opaque = command.opaque
        response.flag = RESPONSE_FLAG
        response.serialize_type = command.serialize_type
        self.reply_frame(encode_frame(response))

    def reply_frame(self, frame: bytes) -> None:
        """Answer with a frame that is already encoded, for this request's opaque and codec (hot path)."""
        if self._answered:
            raise AssertionError(f"second reply to {request_name(self.command.code)}")
        self._answered = True
        if not self.command.flag & ONEWAY_FLAG:
            connection = self.connection
            connection.unanswered -= 1
            if connection.is_open:
                connection.write(frame)
            if connection.when_answered is not None:
                connection.when_answered()

    def succeed(self, ext_fields: dict[str, str] | None = None, body: bytes = b"") -> None:
        """Answer with SUCCESS."""
        self.reply(RemotingCommand(ResponseCode.SUCCESS, ext_fields, body))

    def fail(self, error: Exception) -> None:
        """Answer with what went wrong; after the answer it is only a complaint in the journal."""
        if not isinstance(error, MQError) or self._answered:
            what = f"{type(error).__name__}: {error}"
            self.connection.node.journal.complain(
                "handler failed", request=request_name(self.code), error=what, answered=self._answered
            )
        if self._answered:
            return
        if isinstance(error, MQError):
            self.reply(RemotingCommand(error.response_code, remark=error.remark))
        else:
            self.reply(RemotingCommand(ResponseCode.SYSTEM_ERROR, remark=f"{type(error).__name__}, {error}"))

    @property
    def is_answered(self) -> bool:
        """Whether `reply` has been called."""
        return self._answered


Handler = Callable[[Request], "Awaitable[None] | None"]
Rejecter = Callable[[Request], "RemotingCommand | None"]


class Processors:
    """Who answers what, for all connections of one server or client.

    `reject` is asked before a processor runs: a response from it is the answer (RocketMQ's rejectRequest).
    `after_read` runs once for each batch of frames, before its replies leave: one write, one dispatch.
    """

    def __init__(self) -> None:
        self.table: dict[int, Handler] = {}
        self.reject: dict[int, list[Rejecter]] = {}
        self.after_read: list[Callable[[], None]] = []


class Connection(FrameProtocol):
    """One connection that speaks RocketMQ's protocol, from either end."""

    def __init__(self, node: Node, processors: Processors, frame_max_length: int = FRAME_MAX_LENGTH) -> None:
        super().__init__(node, frame_max_length)
        self.processors = processors
        self.on_closed: list[Callable[[Connection], object]] = []
        self.unanswered = 0  # requests that came and wait for their reply
        self.when_answered: Callable[[], None] | None = None  # called after each reply, for whoever waits
        self._known = KnownHeaders()
        self._opaque = 0
        self._pending: dict[int, tuple[asyncio.Future[RemotingCommand], float, int]] = {}
        self._sweep: Timer | None = None
        self._sweep_due_ms = math.inf

    def invoke(self, command: RemotingCommand, timeout_ms: float) -> asyncio.Future[RemotingCommand]:
        """Ask, and get the reply's future; it fails with Unreachable or RequestTimeout."""
        future: asyncio.Future[RemotingCommand] = self.node.future()
        if not self.is_open:
            future.set_exception(Unreachable(f"{self.peer} has closed"))
            return future
        if len(self._pending) >= MAX_PENDING_INVOKES:
            future.set_exception(Unreachable(f"{self.peer}: {MAX_PENDING_INVOKES} requests wait already"))
            return future
        self._opaque = command.opaque = opaque = self._opaque + 1 & 0x7FFFFFFF
        frame = encode_frame(command)
        deadline_ms = self.node.monotonic_ms() + timeout_ms
        self._pending[opaque] = future, deadline_ms, command.code
        if deadline_ms < self._sweep_due_ms:
            self._sweep_at(deadline_ms)
        self.write(frame)
        return future

    def invoke_oneway(self, command: RemotingCommand) -> None:
        """Ask for something and want no reply."""
        self._opaque = command.opaque = self._opaque + 1 & 0x7FFFFFFF
        command.flag |= ONEWAY_FLAG
        if self.is_open:
            self.write(encode_frame(command))

    def frame_received(self, payload: bytes) -> None:
        command: RemotingCommand | None = self._known.decode(payload)
        if command is None:
            command = decode_frame(payload)
            self._known.learn(payload)
        if command.flag & RESPONSE_FLAG:
            waiting = self._pending.pop(command.opaque, None)
            if waiting is not None and not waiting[0].done():
                waiting[0].set_result(command)
        else:
            if not command.flag & ONEWAY_FLAG:
                self.unanswered += 1
            self._process(Request(command, self))

    def end_of_batch(self) -> None:
        for hook in self.processors.after_read:
            hook()

    def closed(self) -> None:
        if self._sweep is not None:
            self._sweep.cancel()
        pending, self._pending = self._pending, {}
        for future, _, code in pending.values():
            if not future.done():
                what = request_name(code)
                future.set_exception(Unreachable(f"{self.peer} closed before it answered {what}"))
        for listener in list(self.on_closed):
            listener(self)

    def _process(self, request: Request) -> None:
        handler = self.processors.table.get(request.command.code)
        if handler is None:
            remark = f" request type {request.code} not supported"  # RocketMQ's words, its space included
            request.reply(RemotingCommand(ResponseCode.REQUEST_CODE_NOT_SUPPORTED, remark=remark))
            return
        try:
            for rejecter in self.processors.reject.get(request.command.code, ()):
                if (refusal := rejecter(request)) is not None:
                    request.reply(refusal)
                    return
            answer = handler(request)
            if answer is not None:
                self.node.spawn(_answer_later(request, answer), request_name(request.code))
        except Exception as error:  # noqa: BLE001 - whatever a handler does wrong, its peer gets an answer
            request.fail(error)

    def _sweep_at(self, deadline_ms: float) -> None:
        """One timer for all that wait: a timer for each request would cost more than the request."""
        if self._sweep is not None:
            self._sweep.cancel()
        self._sweep_due_ms = deadline_ms
        self._sweep = self.node.call_later(max(deadline_ms - self.node.monotonic_ms(), 0.0), self._expire)

    def _expire(self) -> None:
        """Fail what has waited too long; sleep until the next deadline while anything waits."""
        self._sweep, self._sweep_due_ms = None, math.inf
        now = self.node.monotonic_ms()
        for opaque in [opaque for opaque, waiting in self._pending.items() if waiting[1] <= now]:
            future, _, code = self._pending.pop(opaque)
            if not future.done():
                what = request_name(code)
                future.set_exception(RequestTimeout(f"{self.peer} did not answer {what} in time"))
        if self._pending:
            self._sweep_at(min(deadline_ms for _, deadline_ms, _ in self._pending.values()))


async def _answer_later(request: Request, answer: Awaitable[None]) -> None:
    try:
        await answer
    except Exception as error:  # noqa: BLE001 - as above
        request.fail(error)


def expect_success(response: RemotingCommand) -> RemotingCommand:
    """The response itself, or RemoteError when its code means failure."""
    if response.code != ResponseCode.SUCCESS:
        raise RemoteError(response.code, response.remark)
    return response
