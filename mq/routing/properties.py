"""Settings as text: what an operator sees who asks for a server's configuration · depth

What always holds: one line `key=value` for each key, sorted, under RocketMQ's names and as Java prints
values: what is shown can be put into a properties file as it is.

Real: org.apache.rocketmq.common.Configuration.getAllConfigsFormatString (equivalent)
"""

from collections.abc import Iterable
from enum import Enum
from typing import Any

from mq.runtime.settings import keys_of


def to_properties(settings: Iterable[Any]) -> str:
    """Every key of these settings dataclasses."""
    values = {key: getattr(each, name) for each in settings for key, name in keys_of(type(each)).items()}
    return "".join(f"{key}={_text(values[key])}\n" for key in sorted(values))


def _text(value: Any) -> str:
    if isinstance(value, Enum):
        return value.name
    return ("false", "true")[value] if isinstance(value, bool) else str(value)
