"""The same server and client on the real Node: loopback sockets, the operating system's own cuts."""

import asyncio
from pathlib import Path

import pytest

from mq.runtime.journal import Event
from mq.runtime.real import RealNode
from mq.wire.client import RpcClient
from mq.wire.command import RemotingCommand
from mq.wire.errors import Unreachable
from mq.wire.rpc import Request
from mq.wire.server import RpcServer
from tests.wire_rig import frames_in, request

ECHO, CLOSE = 7, 8


def echo(request: Request) -> None:
    """Answers with what came."""
    request.succeed(dict(request.ext_fields), request.body)


async def serve(root: Path) -> tuple[RpcServer, RpcClient, str, list[Event]]:
    """A server on a free port, a client, the server's address and what the server's journal says."""
    node, events = RealNode("server", str(root / "server")), list[Event]()
    node.journal.listeners.append(events.append)
    server = RpcServer(node)
    server.processors[ECHO] = echo
    server.processors[CLOSE] = lambda request: request.connection.close()
    await server.start(0)
    return server, RpcClient(RealNode("client", str(root / "client"))), f"127.0.0.1:{server.port}", events


def test_a_thousand_pipelined_requests_and_a_body_of_8_mib_are_answered_over_tcp(tmp_path: Path) -> None:
    """All on one connection; the large body is cut into many reads and makes both ends pause."""

    async def main() -> int:
        server, client, address, _ = await serve(tmp_path)
        asked = [client.invoke(address, RemotingCommand(ECHO, {"n": str(n)})) for n in range(1000)]
        large = client.invoke(address, RemotingCommand(ECHO, body=bytes(range(256)) * (8 << 12)))
        *replies, last = await asyncio.gather(*asked, large)
        assert [reply.ext_fields for reply in replies] == [{"n": str(n)} for n in range(1000)]
        assert last.body == bytes(range(256)) * (8 << 12)
        connections = len(server.connections)
        client.stop()
        server.stop()
        return connections

    assert asyncio.run(main()) == 1


def test_garbage_over_tcp_ends_its_own_connection_and_a_closing_server_is_noticed(tmp_path: Path) -> None:
    """An HTTP client knocks; then the server closes a connection while a request waits on it."""

    async def main() -> list[Event]:
        server, client, address, events = await serve(tmp_path)
        assert (await client.invoke(address, RemotingCommand(ECHO))).code == 0
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(request(ECHO, 5) + b"GET / HTTP/1.1\r\n\r\n")
        received = await reader.read()
        writer.close()
        await writer.wait_closed()
        assert [reply.opaque for reply in frames_in(received)] == [5]
        assert (await client.invoke(address, RemotingCommand(ECHO))).code == 0
        with pytest.raises(Unreachable, match="closed before it answered 8"):
            await client.invoke(address, RemotingCommand(CLOSE))
        assert (await client.invoke(address, RemotingCommand(ECHO))).code == 0, "a new connection is made"
        client.stop()
        server.stop()
        with pytest.raises(Unreachable):
            await RpcClient(client.node).invoke(address, RemotingCommand(ECHO))
        return events

    [closed] = asyncio.run(main())
    assert "frame length 1195725856; 0 to 16777216 are allowed" in closed.text()
