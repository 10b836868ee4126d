"""PropertyReader: the three words that derived stores need of a property text, without the map · depth

What always holds: `read` gives what `words_of(decode_properties(text))` gives, its plain twin; a property
test holds the two equal. One client writes the same names in the same order each time, so a text that was
read the plain way becomes an expression that captures the values between its names. Texts that fit none are
read plainly.

Real: nothing (RocketMQ splits each property text)
"""

import re
from collections.abc import Callable
from typing import NamedTuple

from mq.commitlog.message import (
    NAME_END,
    PROPERTY_KEYS,
    PROPERTY_TAGS,
    PROPERTY_UNIQ_KEY,
    VALUE_END,
    decode_properties,
)
from mq.commitlog.put import Words, words_of

LEAST_MISSES, MOST_MISSES = 8, 4096  # a text is learned when so many have fitted nothing: 8, 16, … 4096
MAX_SHAPES = 4
MAX_LENGTH = 4096
_VALUE = "([^\x02]+)"  # to exclude one character is many times faster than to exclude two


class _Shape(NamedTuple):
    match: Callable[[str], re.Match[str] | None]
    tag_group: int  # 0: there is no such property
    keys_group: int
    uniq_key_group: int


class PropertyReader:
    """Reads the property texts of one store's messages."""

    def __init__(self) -> None:
        self._shapes: list[_Shape] = []
        self._misses = 0

    def read(self, text: str) -> Words:
        """The tag, the keys and the client's id."""
        for match, tag, keys, uniq_key in self._shapes:
            fits = match(text)
            if fits is not None:
                return (
                    fits[tag] if tag else None,
                    fits[keys] if keys else "",
                    fits[uniq_key] if uniq_key else None,
                )
        self._misses += 1
        if is_time_to_learn(self._misses):
            self._learn(text)
        return words_of(decode_properties(text))

    def _learn(self, text: str) -> None:
        names = names_of(text)
        if names is None or len(text) > MAX_LENGTH:
            return
        tail = VALUE_END if text.endswith(VALUE_END) else ""
        pattern = VALUE_END.join([re.escape(name + NAME_END) + _VALUE for name in names]) + tail
        places = {name: group for group, name in enumerate(names, start=1)}  # of two with one name, the last
        groups = [places.get(name, 0) for name in (PROPERTY_TAGS, PROPERTY_KEYS, PROPERTY_UNIQ_KEY)]
        self._shapes = [_Shape(re.compile(pattern).fullmatch, *groups), *self._shapes][:MAX_SHAPES]


def is_time_to_learn(misses: int) -> bool:
    """At 8, 16, 32 … 4096 misses, and then at each 4096: an expression costs as much as 100 messages."""
    if misses >= MOST_MISSES:
        return misses % MOST_MISSES == 0
    return misses >= LEAST_MISSES and misses & (misses - 1) == 0


def names_of(text: str) -> list[str] | None:
    """The names in a property text, in its order; None when a piece has no name, no value, or two values."""
    pairs = [pair.split(NAME_END) for pair in text.removesuffix(VALUE_END).split(VALUE_END)]
    if all(len(pair) == 2 and pair[0] and pair[1] for pair in pairs):
        return [name for name, _ in pairs]
    return None
