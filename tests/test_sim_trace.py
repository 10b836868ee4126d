"""The names that a traced journal gives to bytes: frame by frame, however they are cut."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mq.replication.protocol import encode_push, encode_report
from mq.sim.trace import HA_PORT, MAX_HEADER_BYTES, FrameNames
from mq.wire.codec import encode_frame
from mq.wire.codes import RequestCode, ResponseCode
from mq.wire.command import RESPONSE_FLAG, RemotingCommand

PORT = 10911


def request(code: int, opaque: int, body: bytes = b"", serialize_type: int = 0) -> bytes:
    return encode_frame(RemotingCommand(code, {}, body, opaque, serialize_type=serialize_type))


def answer(code: int, opaque: int, body: bytes = b"", serialize_type: int = 0) -> bytes:
    command = RemotingCommand(code, {}, body, opaque, RESPONSE_FLAG, serialize_type=serialize_type)
    return encode_frame(command)


SENT = (
    request(RequestCode.SEND_MESSAGE_V2, 1, b"b" * 300)
    + request(RequestCode.PULL_MESSAGE, 2)
    + request(RequestCode.HEART_BEAT, 3, b"{}")
)
NAMES = ["SEND_MESSAGE_V2", "PULL_MESSAGE", "HEART_BEAT"]


@pytest.mark.parametrize("serialize_type", [0, 1])
def test_frames_that_left_together_are_named_one_by_one_and_their_answers_by_their_questions(
    serialize_type: int,
) -> None:
    client, server = FrameNames(PORT), FrameNames(PORT)
    sent = [request(code, number, b"body", serialize_type) for number, code in enumerate((310, 11), 1)]
    assert client.feed(b"".join(sent), server) == ["SEND_MESSAGE_V2", "PULL_MESSAGE"]
    told = answer(ResponseCode.PULL_NOT_FOUND, 2, b"", serialize_type)
    told += answer(ResponseCode.SUCCESS, 1, b"x" * 40, serialize_type)
    assert server.feed(told, client) == ["PULL_MESSAGE:PULL_NOT_FOUND", "SEND_MESSAGE_V2:SUCCESS"]
    assert client.asked == {}, "a question that was answered is forgotten"
    assert server.feed(answer(0, 2), client) == ["?:SUCCESS"] and server.feed(answer(4711, 9), client) == [
        "?:4711"
    ]


@given(st.lists(st.integers(0, len(SENT)), max_size=12))
def test_each_frame_is_named_once_wherever_the_bytes_are_cut(cuts: list[int]) -> None:
    names = FrameNames(PORT)
    found: list[str] = []
    for begin, end in pairwise([0, *sorted(cuts), len(SENT)]):
        if begin < end:
            chunk = names.feed(SENT[begin:end], FrameNames(PORT))
            assert chunk, "every chunk has a name"
            found += [name for name in chunk if name != f"({end - begin} bytes)"]
    assert found == NAMES


def test_bytes_that_complete_no_header_are_counted() -> None:
    names = FrameNames(PORT)
    assert names.feed(SENT[:7], FrameNames(PORT)) == ["(7 bytes)"]
    assert FrameNames(PORT).feed(b"\0\0\0\x10\0\x01\0\x01" + b"x" * 40, FrameNames(PORT)) == ["(48 bytes)"], (
        f"a header longer than {MAX_HEADER_BYTES} bytes is not waited for"
    )


@pytest.mark.parametrize("header", [b"[]", b"{}", b"\xff", b'{"code":"x"}', b"5"])
def test_a_header_that_says_nothing_is_a_question_mark_and_what_follows_is_named(header: bytes) -> None:
    frame = (4 + len(header)).to_bytes(4, "big") + len(header).to_bytes(4, "big") + header
    assert FrameNames(PORT).feed(frame + SENT, FrameNames(PORT)) == ["?", *NAMES]


def test_replications_own_bytes_are_told_by_their_length() -> None:
    names = FrameNames(HA_PORT)
    peer = FrameNames(HA_PORT)
    assert names.feed(encode_report(700), peer) == ["HA:has-700"]
    assert names.feed(encode_push(700), peer) == ["HA:heartbeat-700"]
    assert names.feed(encode_push(700, b"x" * 512), peer) == ["HA:log-700+512"]
    assert names.feed(b"xyz", peer) == ["(3 bytes)"] and names.feed(b"x" * 10, peer) == ["(10 bytes)"]
