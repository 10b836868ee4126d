"""The hash that a key is indexed under: Java's String.hashCode of `topic#key`, made positive · depth

What always holds: a hash of a text can go on from the hash of its beginning, so a beginning that many keys
share is worked out once (`fastindex.py`).

Real: org.apache.rocketmq.store.index.IndexFile.indexKeyHashMethod (equivalent)
"""

from collections.abc import Sequence
from operator import mul

POWERS = [31**count for count in range(9)]
FACTORS = [tuple(reversed(POWERS[:count])) for count in range(9)]


def hash_of_key(topic: str, key: str) -> int:
    """The hash under which a topic's key is stored: 0 to 2**31 - 1."""
    return positive(hash_on(0, f"{topic}#{key}"))


def positive(value: int) -> int:
    """Java's Math.abs of 32 bits, and 0 where that has no answer."""
    return value if value < 1 << 31 else (1 << 32) - value & 0x7FFFFFFF


def hash_on(value: int, text: str) -> int:
    """Java's String.hashCode, begun with `value`, as 32 bits without a sign: eight characters at a time."""
    if text.isascii():
        units: Sequence[int] = text.encode()
    else:
        units = memoryview(text.encode("utf-16", "surrogatepass")).cast("H")[1:].tolist()
    for start in range(0, len(units), 8):
        piece = units[start : start + 8]
        length = len(piece)
        value = value * POWERS[length] + sum(map(mul, piece, FACTORS[length])) & 0xFFFFFFFF
    return value
