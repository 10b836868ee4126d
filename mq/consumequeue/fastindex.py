"""What a batch of messages is indexed under · depth

What always holds: `KeyHashes.entries_of` says of many messages what `keys_of` and `hash_of_key` say of one:
those are the plain twins, and property tests hold them equal. Java's hash runs over a text from its
beginning, so its value for `topic#` and all of a key but the last three characters serves every key that
begins so, and three characters have few values: both are remembered, and a hash is two look-ups and a sum.

Real: nothing (RocketMQ hashes each key from its beginning)
"""

from collections.abc import Iterable

from mq.commitlog.put import DispatchRequest
from mq.commitlog.record import TRANSACTION_MASK
from mq.consumequeue.keyhash import POWERS, hash_of_key, hash_on

TAIL = 3  # characters of a key that are looked up on their own
MAX_HEADS, MAX_HEAD_LENGTH = 4096, 256
MAX_TAILS = 65_536
_NOTHING: dict[str, int] = {}

NewEntry = tuple[int, int, int]
"""A key's hash, the physical offset of its message, and when that was stored, ms since 1970."""


def keys_of(request: DispatchRequest) -> list[str]:
    """What a message can be found by: the client's id first, then each of its keys."""
    if request.sys_flag & TRANSACTION_MASK == TRANSACTION_MASK:
        return []
    named = [key for key in request.keys.split(" ") if key]
    return [request.uniq_key, *named] if request.uniq_key else named


class KeyHashes:
    """`hash_of_key` that remembers."""

    def __init__(self) -> None:
        # By topic, then by a key without its tail: the hash so far, ready for a tail to be added.
        self._heads: dict[str, dict[str, int]] = {}
        self._heads_count = 0
        self._tails: dict[str, int] = {}

    def entries_of(self, requests: Iterable[DispatchRequest]) -> list[NewEntry]:
        """What the index must hold of these messages, in its order."""
        entries: list[NewEntry] = []
        add, heads_of, tails = entries.append, self._heads.get, self._tails
        for request in requests:
            if request.sys_flag & TRANSACTION_MASK == TRANSACTION_MASK:
                continue
            topic, text, uniq_key = request.topic, request.keys, request.uniq_key
            physical_offset, stored_ms = request.physical_offset, request.store_timestamp_ms
            heads = heads_of(topic, _NOTHING)
            for key in (uniq_key, *text.split(" ")) if " " in text else (uniq_key, text):
                if key:
                    head, tail = heads.get(key[:-TAIL]), tails.get(key[-TAIL:])
                    if head is None or tail is None:
                        value = self._remember(topic, key)
                    elif (value := head + tail & 0xFFFFFFFF) > 0x7FFFFFFF:
                        value = -value & 0x7FFFFFFF  # `positive`, written out
                    add((value, physical_offset, stored_ms))
        return entries

    def _remember(self, topic: str, key: str) -> int:
        head, tail = key[:-TAIL], key[-TAIL:]
        if len(key) >= TAIL and tail.isascii() and len(topic) + len(key) <= MAX_HEAD_LENGTH:
            if self._heads_count >= MAX_HEADS:
                self._heads.clear()
                self._heads_count = 0
            if len(self._tails) >= MAX_TAILS:
                self._tails.clear()
            heads = self._heads.setdefault(topic, {})
            self._heads_count += head not in heads
            heads[head] = hash_on(0, f"{topic}#{head}") * POWERS[TAIL]
            self._tails[tail] = hash_on(0, tail)
        return hash_of_key(topic, key)
