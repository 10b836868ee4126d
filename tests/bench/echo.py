"""The echo: a server that answers and does nothing else, which shows what client and loopback can do.

    python -m tests.bench.echo

Each frame is answered at once with a frame as long as a broker's answer to a send, and with its own opaque.
There is no log, no queue and no event loop: the lean client cannot be faster than against this.
"""

from __future__ import annotations

import socket

from mq.commitlog.headers import SendMessageResponseHeader
from mq.wire.codec import encode_frame
from mq.wire.command import RESPONSE_FLAG, RemotingCommand
from mq.wire.headers import encode_header
from tests.bench.load import FIRST_OPAQUE, OPAQUE, OPAQUE_DIGITS, READ_BYTES, frame_bounds


def template() -> tuple[bytes, bytes]:
    """An answer to a send, cut where the opaque goes."""
    fields = encode_header(SendMessageResponseHeader(3, msg_id="0" * 32, queue_offset=10_000))
    frame = encode_frame(RemotingCommand(0, fields, opaque=FIRST_OPAQUE, flag=RESPONSE_FLAG))
    head, _, tail = frame.partition(OPAQUE)
    return head + OPAQUE, tail[OPAQUE_DIGITS:]


def serve(connected: socket.socket) -> None:
    """Answer until the peer closes."""
    (head, tail), rest = template(), b""
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while more := connected.recv(READ_BYTES):
        data = rest + more
        bounds = frame_bounds(data)
        answers = []
        for start in bounds[:-1]:
            at = data.index(OPAQUE, start) + len(OPAQUE)
            answers += [head, data[at : at + OPAQUE_DIGITS], tail]
        rest = data[bounds[-1] :]
        connected.sendall(b"".join(answers))


def main() -> None:
    """Listen at a free port of loopback, say which, and serve one peer after the other."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(f"echo ready at 127.0.0.1:{listener.getsockname()[1]}", flush=True)
        while True:
            with listener.accept()[0] as connected:
                serve(connected)


if __name__ == "__main__":
    main()
