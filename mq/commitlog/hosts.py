"""Hosts and message ids: an address in 8 bytes, a place in 16 · depth

What always holds: a host is its IP address (4 or 16 bytes) and its port as int32. An offset message id is the
store's host and the physical offset: it says which broker to ask, and where in its log to look.

Real: org.apache.rocketmq.common.message.MessageDecoder.createMessageId (equivalent)
"""

import ipaddress
from functools import lru_cache

from mq.commitlog.message import MessageIllegal

MAX_CACHED_HOSTS = 65_536


@lru_cache(maxsize=MAX_CACHED_HOSTS)
def encode_host(address: str, any_port: bool = False) -> bytes:
    """`127.0.0.1:10911` -> 8 bytes, `[::1]:10911` -> 20. Raises MessageIllegal on anything else.

    `any_port`: also one below zero. A damaged record may name such a port, and has an id none the less.
    """
    host, _, port = address.rpartition(":")
    try:
        return ipaddress.ip_address(host.strip("[]")).packed + int(port).to_bytes(4, "big", signed=any_port)
    except (ValueError, OverflowError):
        raise MessageIllegal(f"{address!r} is not an IP address with a port") from None


@lru_cache(maxsize=MAX_CACHED_HOSTS)
def decode_host(packed: bytes) -> str:
    """The way back."""
    host, port = ipaddress.ip_address(packed[:-4]), int.from_bytes(packed[-4:], "big", signed=True)
    return f"[{host}]:{port}" if host.version == 6 else f"{host}:{port}"


def offset_message_id(store_host: bytes, physical_offset: int) -> str:
    """Host, port and physical offset in upper-case hex: 32 characters, 56 for IPv6."""
    return (store_host + physical_offset.to_bytes(8, "big", signed=True)).hex().upper()


@lru_cache(maxsize=MAX_CACHED_HOSTS)
@lru_cache(maxsize=MAX_CACHED_HOSTS)
def host_hex(packed: bytes) -> str:
    """A packed host as a message id begins with it."""
    return packed.hex().upper()


def decode_message_id(message_id: str) -> tuple[str, int]:
    """`("127.0.0.1:10911", 100)`. Raises ValueError on a text that is no such id."""
    packed = bytes.fromhex(message_id)
    if len(packed) not in (16, 28):
        raise ValueError(f"{message_id!r} is not an offset message id")
    return decode_host(packed[:-8]), int.from_bytes(packed[-8:], "big", signed=True)
