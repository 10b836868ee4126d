"""What a batch of messages is indexed under · depth

What always holds: `KeyHashes.of` is `hash_of_key`, and `entries_of` says of many messages what `keys_of` says
of one: those are the plain twins, and property tests hold them equal. Java's hash runs over a text from its
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
        # By topic and key without its tail: the hash so far, ready for a tail to be added.
        self._heads: dict[tuple[str, str], int] = {}
        self._tails: dict[str, int] = {}

    def of(self, topic: str, key: str) -> int:
        """The hash under which a topic's key is stored."""
        head, tail = self._heads.get((topic, key[:-TAIL])), self._tails.get(key[-TAIL:])
        if head is None or tail is None:
            return self._remember(topic, key)
        value = head + tail & 0xFFFFFFFF
        return value if value < 0x80000000 else -value & 0x7FFFFFFF  # `positive`, written out

    def _remember(self, topic: str, key: str) -> int:
        tail = key[-TAIL:]
        if len(key) >= TAIL and tail.isascii() and len(topic) + len(key) <= MAX_HEAD_LENGTH:
            if len(self._heads) >= MAX_HEADS:
                self._heads.clear()
            if len(self._tails) >= MAX_TAILS:
                self._tails.clear()
            self._heads[topic, key[:-TAIL]] = hash_on(0, f"{topic}#{key[:-TAIL]}") * POWERS[TAIL]
            self._tails[tail] = hash_on(0, tail)
        return hash_of_key(topic, key)


def entries_of(requests: Iterable[DispatchRequest], hashes: KeyHashes) -> list[NewEntry]:
    """What the index must hold of these messages, in its order."""
    entries: list[NewEntry] = []
    add, hash_of = entries.append, hashes.of
    for request in requests:
        keys, uniq_key, topic = request.keys, request.uniq_key, request.topic
        if request.sys_flag & TRANSACTION_MASK == TRANSACTION_MASK:
            continue
        physical_offset, stored_ms = request.physical_offset, request.store_timestamp_ms
        if uniq_key:
            add((hash_of(topic, uniq_key), physical_offset, stored_ms))
        if keys:
            for key in keys.split(" ") if " " in keys else (keys,):
                if key:
                    add((hash_of(topic, key), physical_offset, stored_ms))
    return entries
