"""A frame under the magnifying glass, and a conversation that garbage does not disturb.

    python -m chapters.ch00_wire.demo

The frame was sent by a RocketMQ 4.9.8 broker to a client that had asked who else consumes for its group. The
conversation runs in the simulator: a display and a broker of this chapter, which knows heartbeats and nothing
else yet, and a browser that came to the wrong port.
"""

import asyncio

from mq.sim.simulation import Simulation, golden_text
from mq.wire.client import RpcClient
from mq.wire.codec import decode_frame
from mq.wire.codes import RequestCode, request_name, response_name
from mq.wire.command import RemotingCommand
from mq.wire.frame import FrameProtocol
from mq.wire.rpc import Request
from mq.wire.server import RpcServer

REAL_FRAME = bytes.fromhex(
    "000000980000006e7b22636f6465223a302c226578744669656c6473223a7b7d2c22666c6167223a312c226c616e6775616765223a"
    "224a415641222c226f7061717565223a332c2273657269616c697a655479706543757272656e74525043223a224a534f4e222c2276"
    "657273696f6e223a3430397d7b22636f6e73756d657249644c697374223a5b22756e646566696e6564403132313132225d7d"
)
"""The real broker's answer to GET_CONSUMER_LIST_BY_GROUP, as it was on the wire."""

ROW_BYTES = 16


def parts(frame: bytes) -> list[tuple[int, int, str]]:
    """(start, end, meaning) of each part of a frame; together they are the frame."""
    length, header_length = int.from_bytes(frame[:4], "big"), int.from_bytes(frame[5:8], "big")
    body = 8 + header_length
    return [
        (0, 4, f"length: {length} bytes follow"),
        (4, 5, f"codec of the header: {frame[4]} is {'JSON' if frame[4] == 0 else 'binary'}"),
        (5, 8, f"length of the header: {header_length}"),
        (8, body, "header"),
        (body, len(frame), f"body: the other {len(frame) - body} bytes"),
    ]


def annotated(frame: bytes) -> str:
    """The frame as rows of `position  bytes  text`, under a line that says what the part is."""
    rows = []
    for start, end, meaning in parts(frame):
        rows.append(meaning)
        for at in range(start, end, ROW_BYTES):
            row = frame[at : min(at + ROW_BYTES, end)]
            text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
            rows.append(f"{at:5}  {row.hex(' '):{3 * ROW_BYTES}} {text}")
    return "\n".join([*rows, "", *_decoded(frame)]) + "\n"


def _decoded(frame: bytes) -> list[str]:
    command = decode_frame(frame[4:])
    return [
        f"code     {command.code}: {response_name(command.code)}",
        f"flag     {command.flag}: bit 0 is set, so this is a reply",
        f"opaque   {command.opaque}: the number of the request that it answers",
        f"version  {command.version}: RocketMQ 4.9.8",
        f"body     {command.body.decode()}",
    ]


TOLD = ("listens", "asks", "serves", "is answered", "sends", "connection closed", "finds itself closed")
"""The journal's events that the transcript shows."""


def conversation() -> str:
    """Request, reply, unknown code; a stranger who speaks no frames; and the display, which never noticed."""
    with Simulation(seed=51) as sim:
        sim.run(_conversation(sim), timeout_s=60)
        return golden_text(sim.events, TOLD)


async def _conversation(sim: Simulation) -> None:
    broker, display, browser = sim.node("JFK"), sim.node("display"), sim.node("browser")
    server = RpcServer(broker)
    server.processors[RequestCode.HEART_BEAT] = serve_heartbeat
    await server.start(10911)
    broker.journal.record("listens", port=server.port)
    client, address = RpcClient(display), f"{broker.address}:{server.port}"
    await ask(client, address, RequestCode.HEART_BEAT)
    await ask(client, address, RequestCode.SEND_MESSAGE_V2)
    await browser.connect(address, lambda: Browser(browser))
    await asyncio.sleep(1)
    await ask(client, address, RequestCode.HEART_BEAT)


def serve_heartbeat(request: Request) -> None:
    """The only thing that this broker can do."""
    request.connection.node.journal.record(
        "serves", code=request_name(request.code), peer=request.connection.peer
    )
    request.succeed()


async def ask(client: RpcClient, address: str, code: RequestCode) -> None:
    """One request of the display, with its reply, in the journal."""
    request, journal = RemotingCommand(code), client.node.journal
    journal.record("asks", code=f"{code.name} ({code:d})")
    reply = await client.invoke(address, request)
    journal.record("is answered", code=f"{response_name(reply.code)} ({reply.code})")


class Browser(FrameProtocol):
    """Asks for a page."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        page = b"GET / HTTP/1.1\r\n\r\n"
        number = int.from_bytes(page[:4], "big")
        self.node.journal.record("sends", first_four_bytes=repr(page[:4].decode()), which_are=f"{number:,}")
        self.write(page)

    def closed(self) -> None:
        self.node.journal.record("finds itself closed")


def golden() -> dict[str, str]:
    """The two texts that the page shows."""
    return {"frame.txt": annotated(REAL_FRAME), "conversation.txt": conversation()}


def main() -> None:
    from rich.console import Console
    from rich.panel import Panel
    from rich.text import Text

    console = Console()
    titles = {
        "frame.txt": "a real frame, byte by byte",
        "conversation.txt": "a conversation (virtual ms, who, what)",
    }
    for name, text in golden().items():
        console.print(Panel(Text(text.rstrip("\n")), title=titles[name], expand=False))


if __name__ == "__main__":
    main()
