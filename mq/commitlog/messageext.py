"""MessageExt: a message as the log has it · depth

What always holds: every field is what the record says. Properties are parsed when somebody asks for them
first, because many readers want none of them.

Real: org.apache.rocketmq.common.message.MessageExt (equivalent)
"""

from mq.commitlog.hosts import encode_host, offset_message_id
from mq.commitlog.message import PROPERTY_KEYS, PROPERTY_TAGS, decode_properties


class MessageExt:
    """A message as the log has it, with everything that the broker added."""

    __slots__ = (
        "_properties", "body", "body_crc", "born_host", "born_timestamp_ms", "flag", "physical_offset",
        "prepared_transaction_offset", "properties_text", "queue_id", "queue_offset", "reconsume_times",
        "size", "store_host", "store_timestamp_ms", "sys_flag", "topic",
    )  # fmt: skip

    size: int
    body_crc: int
    queue_id: int
    flag: int
    queue_offset: int
    physical_offset: int
    sys_flag: int
    born_timestamp_ms: int
    born_host: str
    store_timestamp_ms: int
    store_host: str
    reconsume_times: int
    prepared_transaction_offset: int
    body: bytes
    topic: str
    properties_text: str
    _properties: dict[str, str]

    @property
    def properties(self) -> dict[str, str]:
        """The properties, parsed once. The map is this message's own."""
        try:
            return self._properties
        except AttributeError:
            self._properties = decode_properties(self.properties_text)
            return self._properties

    @property
    def tags(self) -> str | None:
        """The message's tag."""
        return self.properties.get(PROPERTY_TAGS)

    @property
    def keys(self) -> list[str]:
        """The message's index keys."""
        return self.properties.get(PROPERTY_KEYS, "").split()

    @property
    def msg_id(self) -> str:
        """The offset message id: which broker, and where in its log."""
        return offset_message_id(encode_host(self.store_host, any_port=True), self.physical_offset)

    def __repr__(self) -> str:
        where = f"{self.topic}/{self.queue_id}@{self.queue_offset}"
        return f"MessageExt({where}, physical {self.physical_offset}, {len(self.body)} bytes)"
