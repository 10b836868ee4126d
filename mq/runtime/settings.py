"""Settings: one properties file fills every floor's frozen dataclass · core

What always holds: a field `flush_interval_commit_log` is RocketMQ's key `flushIntervalCommitLog`; the few
keys that do not follow the rule say so with `key(...)`. A value that cannot be used is one clear sentence,
never a default in its place.

Real: org.apache.rocketmq.common.MixAll.properties2Object (equivalent)
"""

import dataclasses
import typing
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any, TypeVar

from mq.runtime.errors import SettingsError

C = TypeVar("C")


def key(name: str, default: Any) -> Any:
    """A field whose key on the outside is `name`, where the camel-case rule would not give it."""
    return dataclasses.field(default=default, metadata={"key": name})


def camel(name: str) -> str:
    """`broker_name` -> `brokerName`."""
    head, *rest = name.split("_")
    return head + "".join(part[:1].upper() + part[1:] for part in rest)


def keys_of(kind: type) -> dict[str, str]:
    """The keys that a settings dataclass takes, each with the name of its field."""
    return {field.metadata.get("key", camel(field.name)): field.name for field in dataclasses.fields(kind)}


def fill(kind: type[C], properties: Mapping[str, str]) -> C:
    """An instance of `kind` from the keys that it knows; keys of other floors are left alone."""
    types = typing.get_type_hints(kind)
    values = {
        name: _value(outside, types[name], properties[outside])
        for outside, name in keys_of(kind).items()
        if outside in properties
    }
    return kind(**values)


def _value(name: str, kind: Any, text: str) -> Any:
    try:
        if kind is bool:
            return {"true": True, "false": False}[text.strip().lower()]
        if isinstance(kind, type) and issubclass(kind, Enum):
            return kind[text.strip()]
        return kind(text.strip())
    except (KeyError, ValueError):
        raise SettingsError(f"{name} = {text!r}: it must be {_allowed(kind)}") from None


def _allowed(kind: type) -> str:
    if issubclass(kind, Enum):
        return f"one of {', '.join(kind.__members__)}"
    return {"bool": "true or false", "int": "a whole number"}.get(kind.__name__, "a number")


def check_keys(properties: Mapping[str, str], kinds: Iterable[type]) -> None:
    """Refuse keys that no floor knows: a misspelt key that is silently ignored is a trap."""
    known = {outside for kind in kinds for outside in keys_of(kind)}
    unknown = sorted(set(properties) - known)
    if unknown:
        raise SettingsError(f"unknown setting {unknown[0]!r}; known are: {', '.join(sorted(known))}")


def parse_properties(text: str) -> dict[str, str]:
    """`key = value` lines; `#` and `!` open a comment. Raises SettingsError with the line's number."""
    properties = {}
    for number, line in enumerate(text.splitlines(), start=1):
        line = line.strip()
        if line and line[0] not in "#!":
            name, found, value = line.partition("=")
            if not found:
                raise SettingsError(f"line {number}: {line!r} is not 'key = value'")
            properties[name.strip()] = value.strip()
    return properties
