"""What can go wrong between two peers, and whose fault it is · depth

What always holds: `FrameError` means that the bytes make no sense, so the connection cannot go on. A
`RemoteError` is the other side's answer. `Unreachable` and `RequestTimeout` say that there was none: the
request may or may not have been carried out.

Real: org.apache.rocketmq.remoting.exception.RemotingException (equivalent)
"""

from mq.runtime.errors import MQError
from mq.wire.codes import response_name


class FrameError(MQError):
    """The peer sent bytes that are no frame: this connection is closed, with this reason."""


class HeaderError(MQError):
    """A frame that is whole, with a header that lacks a field or holds a wrong one: answered with code 1."""


class Unreachable(MQError):
    """No connection, or it closed before the answer came."""


class RequestTimeout(MQError):
    """The answer did not come in time."""


class RemoteError(MQError):
    """The peer answered with a code that means failure."""

    def __init__(self, code: int, remark: str | None) -> None:
        super().__init__(f"{response_name(code)} ({code}): {remark or 'no remark'}", code)
        self.code = code
