"""Message: what an application sends, and its properties · depth

What always holds: properties are one text on the wire and on disk, `name \\x01 value \\x02` again and again,
with no escaping: a value that held one of the two signs would tear its neighbours, so it is refused here.

Real: org.apache.rocketmq.common.message.Message (equivalent)
"""

from collections.abc import Mapping

from mq.runtime.errors import MQError

PROPERTY_KEYS = "KEYS"  # index keys, one space between them
PROPERTY_TAGS = "TAGS"  # one tag
PROPERTY_WAIT = "WAIT"  # whether the sender waits for disk and replica
PROPERTY_UNIQ_KEY = "UNIQ_KEY"  # the id that the client gave
PROPERTY_CLUSTER = "CLUSTER"  # added by the broker

NAME_END, VALUE_END = "\x01", "\x02"


class MessageIllegal(MQError):
    """A message that cannot be stored: too long, or with a sign that the format reserves. Code 13."""

    response_code = 13


class Message:
    """A body for a topic. `tags` is one tag; `keys` are index keys, one space between them."""

    __slots__ = ("body", "flag", "properties", "topic")

    def __init__(
        self,
        topic: str,
        body: bytes = b"",
        tags: str | None = None,
        keys: str | None = None,
        flag: int = 0,
        properties: Mapping[str, str] | None = None,
    ) -> None:
        self.topic = topic
        self.body = body
        self.flag = flag
        self.properties = dict(properties or {})
        if keys:
            self.properties[PROPERTY_KEYS] = keys
        if tags:
            self.properties[PROPERTY_TAGS] = tags

    def __repr__(self) -> str:
        return f"Message({self.topic!r}, {len(self.body)} bytes, {self.properties})"


def encode_properties(properties: Mapping[str, str]) -> str:
    """The one text. Empty values are left out, as Java does. Raises MessageIllegal on a reserved sign."""
    pairs = [f"{name}{NAME_END}{value}" for name, value in properties.items() if value]
    if not pairs:
        return ""
    text = VALUE_END.join(pairs)
    if text.count(NAME_END) != len(pairs) or text.count(VALUE_END) != len(pairs) - 1:
        raise MessageIllegal("a property holds \\x01 or \\x02, which separate properties")
    return text + VALUE_END


def decode_properties(text: str) -> dict[str, str]:
    """The properties in a text; a piece without a name or a value is passed over, as Java does."""
    pairs = [pair.split(NAME_END, 1) for pair in text.split(VALUE_END)]
    return {pair[0]: pair[1] for pair in pairs if len(pair) == 2 and pair[0] and pair[1]}
