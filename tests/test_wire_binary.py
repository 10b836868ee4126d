"""The binary header: RocketMQ's bytes, every value there and back, and what garbage may do: nothing."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mq.sim.simulation import Simulation
from mq.wire.binary_header import LANGUAGES, BinaryHeader
from mq.wire.codec import BINARY, decode_frame, encode_frame
from mq.wire.command import RemotingCommand
from mq.wire.errors import FrameError
from mq.wire.rpc import Processors, Request
from tests.wire_rig import connection_by_hand, frames_in, reasons

# Written by RocketMQ's own classes: code 105, topic "T", opaque 1, version 0.
VECTOR = bytes.fromhex(
    "00000025 01000021 0069 00 0000 00000001 00000000 00000000 0000000c 0005 746f706963 00000001 54"
)
ROUTE_REQUEST = RemotingCommand(105, {"topic": "T"}, b"", 1, version=0, serialize_type=BINARY)

INT16, INT32 = st.integers(-(1 << 15), (1 << 15) - 1), st.integers(-(1 << 31), (1 << 31) - 1)
COMMANDS = st.builds(
    RemotingCommand,
    code=INT16,
    ext_fields=st.none() | st.dictionaries(st.text(), st.text(), min_size=1, max_size=8),
    body=st.binary(max_size=200),
    opaque=INT32,
    flag=INT32,
    remark=st.none() | st.text(min_size=1),
    language=st.sampled_from(LANGUAGES),
    version=INT16,
    serialize_type=st.just(BINARY),
)


def test_a_command_is_written_as_rocketmq_writes_it_byte_for_byte() -> None:
    """The vector came from RocketMQ's own classes."""
    assert encode_frame(ROUTE_REQUEST).hex(" ", 4) == VECTOR.hex(" ", 4)


def test_what_rocketmq_wrote_is_read() -> None:
    """The same vector, the other way."""
    assert decode_frame(VECTOR[4:]) == ROUTE_REQUEST


# What a real broker and NameServer (4.9.7, hence version 407) answered to binary requests with opaque 0.
CAPTURED = {
    "a send": (
        "0100008f000000019700000000000000010000000000" "00007a"
        "00056d7367496400000020374630303030303130303030324139463030303030303030303030303030303000077175657565"
        "49640000000130000b71756575654f66667365740000000130000854524143455f4f4e0000000474727565000a4d53475f52"
        "4547494f4e0000000d44656661756c74526567696f6e",
        0,
        None,
        {
            "msgId": "7F00000100002A9F0000000000000000",
            "queueId": "0",
            "queueOffset": "0",
            "TRACE_ON": "true",
            "MSG_REGION": "DefaultRegion",
        },
    ),
    "a pull behind the end": (
        "0100007b00150001970000000000000001000000154f46465345545f4f564552464c4f575f4241444c590000005100147375"
        "67676573745768696368"
        "42726f6b657249640000000130000f6e657874426567696e4f6666736574000000013100096d696e4f666673657400000001"
        "3000096d61784f66667365740000000131",
        21,
        "OFFSET_OVERFLOW_BADLY",
        {"suggestWhichBrokerId": "0", "nextBeginOffset": "1", "minOffset": "0", "maxOffset": "1"},
    ),
    "a code that nobody knows": (
        "010000350003000197000000000000000100000020207265717565737420747970652039393939206e6f7420737570706f72"
        "74656400000000",
        3,
        " request type 9999 not supported",
        None,
    ),
    "a goodbye": ("01000015000000019700000000000000010000000000000000", 0, None, None),
}  # fmt: skip


@pytest.mark.parametrize(("text", "code", "remark", "fields"), CAPTURED.values(), ids=CAPTURED)
def test_a_real_brokers_answer_is_read_and_written_byte_for_byte(
    text: str, code: int, remark: str | None, fields: dict[str, str] | None
) -> None:
    """Captured with the steps of tests/interop."""
    payload = bytes.fromhex(text)
    answer = decode_frame(payload)
    assert (answer.code, answer.remark, answer.ext_fields) == (code, remark, fields)
    assert (answer.opaque, answer.flag, answer.language, answer.version) == (0, 1, "JAVA", 407)
    assert encode_frame(answer)[4:] == payload


def test_each_field_has_its_place() -> None:
    """A header with every field in it, built by hand."""
    header = BinaryHeader().encode(
        RemotingCommand(310, {"a": "é", "b": ""}, b"", 7, 1, "no", "GO", 409, BINARY)
    )
    by_hand = (
        "0136" "09" "0199" "00000007" "00000001"  # code, language, version, opaque, flag
        "00000002" "6e6f"  # remark
        "00000010" "0001" "61" "00000002" "c3a9" "0001" "62" "00000000"  # pairs, the last one's value empty
    )  # fmt: skip
    assert header.hex() == by_hand


@given(COMMANDS)
def test_a_command_that_is_encoded_and_decoded_is_the_same_command(command: RemotingCommand) -> None:
    """Every text and number; what has no length is None, and was None."""
    assert decode_frame(encode_frame(command)[4:]) == command


def test_an_empty_remark_and_an_empty_map_come_back_as_none() -> None:
    """A length of 0 cannot say which it was; Java reads null."""
    sent = RemotingCommand(0, {}, remark="", serialize_type=BINARY)
    got = decode_frame(encode_frame(sent)[4:])
    assert (got.ext_fields, got.remark) == (None, None)


def test_a_language_that_nobody_knows_is_other() -> None:
    """A newer client is served like any other."""
    header = bytearray(BinaryHeader().encode(RemotingCommand(34, language="COBOL")))
    assert header[2] == LANGUAGES.index("OTHER")
    header[2] = 200
    assert BinaryHeader().decode(bytes(header)).language == "OTHER"


@pytest.mark.parametrize(
    "command",
    [RemotingCommand(200_050), RemotingCommand(1, version=1 << 15), RemotingCommand(1, {"n" * 32_768: ""})],
    ids=["code", "version", "name"],
)
def test_what_does_not_fit_is_not_written(command: RemotingCommand) -> None:
    """Java cuts such a code to 16 bits, and asks for something else."""
    with pytest.raises(ValueError, match="does not fit a binary header"):
        BinaryHeader().encode(command)


WHOLE = BinaryHeader().encode(RemotingCommand(105, {"topic": "T"}, remark="r"))


@pytest.mark.parametrize("length", range(len(WHOLE)))
def test_a_header_that_is_cut_anywhere_is_a_frame_error(length: int) -> None:
    """No cut leaves another header behind."""
    with pytest.raises(FrameError):
        BinaryHeader().decode(WHOLE[:length])


def test_bytes_behind_the_pairs_are_a_frame_error() -> None:
    """Else a wrong length would go unnoticed."""
    with pytest.raises(FrameError, match="12 bytes of pairs are told, 13 follow"):
        BinaryHeader().decode(WHOLE + b"\0")


@pytest.mark.parametrize("at", [13, 26, 33], ids=["remark", "a pair's name", "a pair's value"])
def test_a_negative_length_is_a_frame_error(at: int) -> None:
    """It would lead backwards, and round and round."""
    header = bytearray(BinaryHeader().encode(RemotingCommand(105, {"topic": "T"}, remark="none!")))
    header[at] |= 0x80
    with pytest.raises(FrameError, match="a text of -"):
        BinaryHeader().decode(bytes(header))


def only_frame_errors(payload: bytes) -> None:
    """Decode; whatever passes must be fit for answering in the same codec."""
    try:
        command = decode_frame(payload)
    except FrameError as error:
        assert error.remark
        return
    encode_frame(command)


@given(st.binary(max_size=200))
@example(b"\xff" * 40)
@example(b"\0" * 13 + b"\x7f\xff\xff\xff")
@example(b"\0" * 21)
def test_random_bytes_raise_nothing_but_a_frame_error(header: bytes) -> None:
    """Bytes that nobody meant as a header, in a frame that says that they are one."""
    only_frame_errors((BINARY << 24 | len(header)).to_bytes(4, "big") + header)


@given(COMMANDS, st.data())
def test_a_frame_with_flipped_bytes_raises_nothing_but_a_frame_error(
    command: RemotingCommand, data: st.DataObject
) -> None:
    """Bytes that were a header."""
    payload = bytearray(encode_frame(command)[4:])
    for at in data.draw(st.sets(st.integers(0, len(payload) - 1), min_size=1, max_size=4)):
        payload[at] ^= data.draw(st.integers(1, 255))
    only_frame_errors(bytes(payload))


def test_a_reply_has_the_codec_of_its_request() -> None:
    """On one connection, a binary request and a JSON one: each client reads what it wrote."""

    def answer(request: Request) -> None:
        request.succeed({"seen": request.ext_fields["topic"]})

    with Simulation() as sim:
        processors = Processors()
        processors.table[105] = answer
        connection, transport = connection_by_hand(sim, processors)
        connection.data_received(VECTOR)
        json_request = RemotingCommand(105, {"topic": "J"}, b"", 2)
        connection.data_received(encode_frame(json_request))
        binary, json = frames_in(transport.written)
    assert (binary.serialize_type, binary.opaque, binary.ext_fields) == (BINARY, 1, {"seen": "T"})
    assert (json.serialize_type, json.opaque, json.ext_fields) == (0, 2, {"seen": "J"})


def test_an_unknown_code_and_a_failing_handler_are_answered_in_binary_too() -> None:
    """A remark travels as text behind its length."""

    def fail(request: Request) -> None:
        raise ZeroDivisionError("no")

    with Simulation() as sim:
        processors = Processors()
        processors.table[1] = fail
        connection, transport = connection_by_hand(sim, processors)
        for code in (1, 2):
            connection.data_received(encode_frame(RemotingCommand(code, opaque=code, serialize_type=BINARY)))
        replies = [(reply.serialize_type, reply.code, reply.remark) for reply in frames_in(transport.written)]
    assert replies == [(1, 1, "ZeroDivisionError, no"), (1, 3, " request type 2 not supported")]


def test_a_binary_header_that_makes_no_sense_closes_its_connection() -> None:
    """With a reason for the operator."""
    with Simulation() as sim:
        connection, _ = connection_by_hand(sim, Processors())
        connection.data_received(VECTOR[:-1] + b"\xff")
        assert not connection.is_open
        assert len(reasons(sim)) == 1
        assert reasons(sim)[0].startswith("header is no binary header: 'utf-8' codec")
