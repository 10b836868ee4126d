"""Java's String.hashCode, which tags and keys are stored as · depth

What always holds: `31 * h + c` over UTF-16 code units, in 32 bits with a sign. Two texts may share a hash;
whoever stores hashes must compare texts somewhere.

Real: java.lang.String.hashCode (equivalent)
"""

from array import array
from functools import lru_cache

MAX_CACHED_TAGS = 4096


def java_hash(text: str) -> int:
    """`TagA` -> 2598919; a signed 32-bit integer."""
    units = text.encode("latin-1") if text.isascii() else _utf16_units(text)
    value = 0
    for unit in units:
        value = 31 * value + unit & 0xFFFFFFFF
    return value - (value >> 31 << 32)


tag_hash = lru_cache(maxsize=MAX_CACHED_TAGS)(java_hash)
"""`java_hash`, remembered: a topic has few tags."""


def _utf16_units(text: str) -> "array[int]":
    units = array("H", text.encode("utf-16-be", "surrogatepass"))
    if units.itemsize == 2 and array("H", b"\x00\x01")[0] != 1:
        units.byteswap()
    return units
