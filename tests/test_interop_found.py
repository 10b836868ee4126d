"""What clients and a broker that nobody here wrote have found: each fault once, so that it stays repaired."""

import asyncio
import zlib
from pathlib import Path

import pytest

from mq.clients.groups import SubscriptionGroupManager
from mq.commitlog.compressed import unpack_bodies
from mq.commitlog.messageext import MessageExt
from mq.inspect import inspect
from mq.runtime.real import RealDisk, RealNode
from mq.sim.simulation import Simulation
from mq.system import build_broker
from mq.wire.client import RpcClient
from mq.wire.codec import BINARY
from mq.wire.codes import RequestCode
from mq.wire.command import RemotingCommand
from tests.wire_rig import complaints


def packed(body: bytes, sys_flag: int) -> MessageExt:
    """A message as it comes out of the log."""
    message = MessageExt()
    message.body, message.sys_flag = body, sys_flag
    return message


@pytest.mark.parametrize("sys_flag", [0x1, 0x301, 0x5])
def test_a_consumer_gets_the_body_that_its_producer_packed(sys_flag: int) -> None:
    """Every client but ours packs bodies of 4 KiB and more; older ones do not say with what."""
    body = b"large " + b"x" * 10_000
    (message,) = unpack_bodies([packed(zlib.compress(body), sys_flag)])
    assert message.body == body


@pytest.mark.parametrize(
    ("body", "sys_flag"),
    [
        (zlib.compress(b"x"), 0x0),  # a body that its application packed
        (b"LZ4", 0x101),
        (b"Zstandard", 0x201),
        (b"damaged", 0x1),
        (zlib.compress(b"x" * 5_000)[:-6], 0x1),
    ],
    ids=["not packed by a client", "LZ4", "Zstandard", "damaged", "cut"],
)
def test_a_body_that_cannot_be_unpacked_stays_as_it_is(body: bytes, sys_flag: int) -> None:
    """The message still comes, and its sys flag says what it is."""
    (message,) = unpack_bodies([packed(body, sys_flag)])
    assert message.body == body


def test_a_small_body_that_claims_to_be_gigabytes_stays_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever may send may not fill the memory of those who read."""
    monkeypatch.setattr("mq.commitlog.compressed.MAX_UNPACKED_BYTES", 1 << 16)
    small = zlib.compress(b"\0" * (1 << 17))
    (message,) = unpack_bodies([packed(small, 0x1)])
    assert message.body == small


def test_a_message_behind_the_end_of_the_log_cannot_be_found(tmp_path: Path) -> None:
    """On a real disk: reading a negative number of bytes was "Invalid argument" there, and nothing in a
    simulation."""

    async def view() -> RemotingCommand:
        node = RealNode("broker-a", str(tmp_path))
        broker = build_broker(node, {"listenPort": "0", "mappedFileSizeCommitLog": "1048576"})
        await broker.start()
        client = RpcClient(node)
        sent = await client.invoke(broker.address, RemotingCommand(310, SEND, b"x", serialize_type=BINARY))
        assert (sent.code, sent.serialize_type) == (0, BINARY), sent.remark
        assert (sent.ext_fields or {}).keys() == {"msgId", "queueId", "queueOffset", "TRACE_ON", "MSG_REGION"}
        command = RemotingCommand(RequestCode.VIEW_MESSAGE_BY_ID, {"offset": "65535"})
        answer = await client.invoke(broker.address, command)
        client.stop()
        await broker.stop()
        node.real_disk.close()
        return answer

    answer = asyncio.run(view())
    assert (answer.code, answer.remark) == (1, "can not find message by the offset, 65535")


SEND = {"a": "PG", "b": "T", "c": "TBW102", "d": "4", "e": "0", "f": "0", "g": "0", "h": "0", "i": ""}


def test_inspect_reads_a_table_with_the_bare_keys_of_the_real_broker(tmp_path: Path) -> None:
    """Its consumerOffset.json is not JSON; ours is."""
    file, lines = tmp_path / "consumerOffset.json", list[str]()
    file.write_text('{\n\t"offsetTable":{\n\t\t"Made@CG":{0:1,1:-1\n\t\t}\n\t}\n}')
    assert inspect(RealDisk(""), str(file), lines.append) == 0
    assert any('"1": -1' in line for line in lines)


def test_a_real_brokers_group_without_a_name_is_left_out_of_the_table() -> None:
    """A pull for no group makes one there, and its store must open here."""
    with Simulation() as sim:
        groups = SubscriptionGroupManager(sim.node("broker-a"))
        groups.decode(
            '{"dataVersion":{},"subscriptionGroupTable":{"":{"groupName":""},"a":{"groupName":"a"}}}'
        )
        assert "a" in groups.table and "" not in groups.table
        assert len(complaints(sim, "group without a name left out")) == 1
