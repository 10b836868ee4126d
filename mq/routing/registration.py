"""A registration: what a broker says of itself, as a request, plain or compressed · depth

What always holds: both forms say the same, but the compressed one says nothing of `order` and `topicSysFlag`,
as in RocketMQ. The checksum is that of the body as it travels. What does not fit its checksum, inflates to
more than MAX_INFLATED_BYTES or has another shape is refused with a sentence, and changes nothing.

The compressed form is one zlib stream, all lengths and counts being int32:

    length, data version as JSON
    count, then for each topic: length, `name read write perm filter`
    length, filter servers as a JSON list

Real: org.apache.rocketmq.common.protocol.body.RegisterBrokerBody (equivalent)
"""

import struct
import zlib
from collections.abc import Mapping

from mq.routing.bodies import BodyError, as_object, name_of, number_of, read_object, write_json
from mq.routing.headers import RegisterBrokerHeader
from mq.routing.tables import MAX_TOPICS, Registration
from mq.routing.topics import FILTER_TYPES, DataVersion, TopicConfig, topics_from_json, topics_to_json
from mq.runtime.errors import MQError
from mq.wire.rpc import Request

MAX_INFLATED_BYTES = 32 << 20  # ours: twice the longest frame; a stream of zeros could promise a thousandfold
BEST_COMPRESSION = 9  # what 4.9.8 takes

_INT = struct.Struct(">i")
_NUMBERS = ("readQueueNums", "writeQueueNums", "perm")


def checksum(body: bytes) -> int:
    """CRC-32 without its top bit: what `bodyCrc32` holds. 0 in the header means that nobody made one."""
    return zlib.crc32(body) & 0x7FFFFFFF


def registration_body(version: DataVersion, topics: Mapping[str, TopicConfig], compressed: bool) -> bytes:
    """The body of a 103."""
    if not compressed:
        wrapper = topics_to_json(version, topics)
        return write_json({"filterServerList": [], "topicConfigSerializeWrapper": wrapper})
    parts = [_counted(write_json(version.to_json())), _INT.pack(len(topics))]
    parts += [_counted(_words(config).encode()) for config in topics.values()]
    parts.append(_counted(b"[]"))
    return zlib.compress(b"".join(parts), BEST_COMPRESSION)


def read_registration(request: Request) -> Registration:
    """What a 103 says. Raises MQError with code 1 when header or body cannot be understood."""
    header, body = request.header(RegisterBrokerHeader), request.body
    if header.body_crc32 and header.body_crc32 != checksum(body):
        raise MQError(f"crc32 not match: {header.body_crc32} was told, the body has {checksum(body)}")
    version, topics = _read_compressed(body) if header.compressed and body else _read_plain(body)
    return Registration(
        header.cluster_name,
        header.broker_name,
        header.broker_id,
        header.broker_addr,
        header.ha_server_addr,
        version,
        topics,
    )


def _read_plain(body: bytes) -> tuple[DataVersion, dict[str, TopicConfig]]:
    fields = read_object(body, "a registration") if body else {}
    name = "topicConfigSerializeWrapper"
    return topics_from_json(as_object(fields.get(name), name))


def _read_compressed(body: bytes) -> tuple[DataVersion, dict[str, TopicConfig]]:
    """The filter servers at the end are passed over: nothing here has any."""
    stream = _Stream(_inflate(body))
    version = DataVersion.from_json(read_object(stream.piece("the data version"), "the data version"))
    count = stream.number("the number of topics")
    if not 0 <= count <= MAX_TOPICS:
        raise BodyError(f"a compressed registration names {count} topics; 0 to {MAX_TOPICS} are read")
    topics = {}
    for _ in range(count):
        config = _config_of(stream.piece("a topic"))
        topics[config.topic_name] = config
    return version, topics


def _inflate(body: bytes) -> bytes:
    inflater = zlib.decompressobj()
    try:
        data = inflater.decompress(body, MAX_INFLATED_BYTES + 1)
    except zlib.error as error:
        raise BodyError(f"a compressed registration is no zlib stream: {error}") from None
    if len(data) > MAX_INFLATED_BYTES:
        raise BodyError(f"a compressed registration inflates to more than {MAX_INFLATED_BYTES} bytes")
    if not inflater.eof:
        raise BodyError(f"a compressed registration ends in the middle: {len(data)} bytes could be inflated")
    return data


class _Stream:
    """Reads counted pieces one after the other."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    def number(self, what: str) -> int:
        """The next int32. Raises BodyError."""
        (number,) = _INT.unpack(self._take(4, what))
        return int(number)

    def piece(self, what: str) -> bytes:
        """The next counted piece. Raises BodyError."""
        return self._take(self.number(what), what)

    def _take(self, length: int, what: str) -> bytes:
        start, end = self._position, self._position + length
        if not start <= end <= len(self._data):
            raise BodyError(
                f"a compressed registration lacks {what}: {length} bytes at {start} of {len(self._data)}"
            )
        self._position = end
        return self._data[start:end]


def _words(config: TopicConfig) -> str:
    return (
        f"{config.topic_name} {config.read_queue_nums} {config.write_queue_nums} {config.perm}"
        f" {config.topic_filter_type}"
    )


def _config_of(piece: bytes) -> TopicConfig:
    """Brokers of RocketMQ 5 add a sixth word, which 4.9.8 stumbles over; it is passed over here."""
    words = piece.decode("utf-8", "replace").split(" ")
    if len(words) < 5 or not words[0]:
        raise BodyError(f"{piece[:40]!r} is no topic: five words were expected")
    numbers = dict(zip(_NUMBERS, words[1:4], strict=True))
    read, write, perm = (number_of(numbers, name) for name in _NUMBERS)
    kind = name_of({"topicFilterType": words[4]}, "topicFilterType", FILTER_TYPES, FILTER_TYPES[0])
    return TopicConfig(words[0], read, write, perm, kind)


def _counted(piece: bytes) -> bytes:
    return _INT.pack(len(piece)) + piece
