"""What a consumer group wants to see of one topic · depth

What always holds: `*` has no tags and no codes; any other tag expression has at least one, and `code_set`
holds the Java hash of each tag, because a queue entry stores the hash and not the tag. Order is as written.

What the real system does: the same; its sets have Java's order. An expression of another type (SQL92) is
carried as it came and has neither tags nor codes.

Real: org.apache.rocketmq.common.filter.FilterAPI (equivalent)
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mq.commitlog.javahash import java_hash
from mq.routing.bodies import BodyError, as_list, flag_of, number_of, text_of
from mq.runtime.errors import MQError
from mq.wire.codes import ResponseCode

SUB_ALL = "*"
TAG = "TAG"
MAX_TAGS = 1_000  # ours: of one expression; a consumer that wants more wants `*`


@dataclass(slots=True)
class SubscriptionData:
    """One topic of one group. `sub_version` is the time (ms) at which the client made it: newer wins."""

    topic: str
    sub_string: str = SUB_ALL
    tags_set: list[str] = field(default_factory=list)
    code_set: list[int] = field(default_factory=list)
    sub_version: int = 0
    expression_type: str = TAG
    class_filter_mode: bool = False

    @property
    def wants_all(self) -> bool:
        """Whether every message of the topic is wanted."""
        return self.expression_type == TAG and self.sub_string == SUB_ALL

    def to_json(self) -> dict[str, Any]:
        """As a Java client sends it: members in alphabetical order."""
        return {
            "classFilterMode": self.class_filter_mode,
            "codeSet": self.code_set,
            "expressionType": self.expression_type,
            "subString": self.sub_string,
            "subVersion": self.sub_version,
            "tagsSet": self.tags_set,
            "topic": self.topic,
        }

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> "SubscriptionData":
        """From a heartbeat of any client. Raises BodyError that names the member."""
        return cls(
            topic=required_text(told, "topic"),
            sub_string=text_of(told, "subString", SUB_ALL),
            tags_set=[text_of({"tag": tag}, "tag") for tag in bounded_list(told, "tagsSet", MAX_TAGS)],
            code_set=[number_of({"code": code}, "code") for code in bounded_list(told, "codeSet", MAX_TAGS)],
            sub_version=number_of(told, "subVersion"),
            expression_type=text_of(told, "expressionType") or TAG,
            class_filter_mode=flag_of(told, "classFilterMode"),
        )


def required_text(told: Mapping[str, Any], name: str) -> str:
    """A text that nobody may leave out. Raises BodyError."""
    text = text_of(told, name)
    if not text:
        raise BodyError(f"{name} is missing")
    return text


def bounded_list(told: Mapping[str, Any], name: str, at_most: int) -> list[Any]:
    """A list, empty when it is missing. Raises BodyError when it is too long or none."""
    elements = as_list(told.get(name), name)
    if len(elements) > at_most:
        raise BodyError(f"{name} has {len(elements)} elements; at most {at_most} are allowed")
    return elements


def build_subscription(
    topic: str, expression: str | None, sub_version: int = 0, expression_type: str | None = None
) -> SubscriptionData:
    """`TagA || TagB` as data; None and the empty text mean `*`.

    Raises MQError with SUBSCRIPTION_PARSE_FAILED when no tag is left between the bars.
    """
    if expression_type and expression_type != TAG:
        return SubscriptionData(topic, expression or "", [], [], sub_version, expression_type)
    text = expression or SUB_ALL
    if text == SUB_ALL:
        return SubscriptionData(topic, sub_version=sub_version)
    tags = list(dict.fromkeys(tag.strip() for tag in text.split("||") if tag.strip()))
    if not tags or len(tags) > MAX_TAGS:
        problem = f"{len(tags)} tags; 1 to {MAX_TAGS} are allowed"
        remark = f"the expression {text[:80]!r} has {problem}"
        raise MQError(remark, ResponseCode.SUBSCRIPTION_PARSE_FAILED)
    codes = list(dict.fromkeys(java_hash(tag) for tag in tags))
    return SubscriptionData(topic, text, tags, codes, sub_version)
