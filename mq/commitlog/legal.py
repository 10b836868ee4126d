"""May this message be stored at all? What a record cannot hold is refused before anything is touched · depth

Real: org.apache.rocketmq.store.DefaultMessageStore.checkMessage (equivalent)
"""

from mq.commitlog.config import MessageStoreConfig
from mq.commitlog.put import AppendResult, InnerMessage, PutStatus
from mq.commitlog.record import MAX_OVERHEAD_BYTES, MAX_PROPERTIES_BYTES, MAX_TOPIC_BYTES

MOST_UTF8_BYTES = 4  # of one character
SURE_TOPIC, SURE_TEXT = MAX_TOPIC_BYTES // MOST_UTF8_BYTES, MAX_PROPERTIES_BYTES // MOST_UTF8_BYTES


def sure_body_bytes(config: MessageStoreConfig) -> int:
    """So long a body fits, whatever topic and properties stand beside it. Below 0: none does for sure."""
    in_segment = config.mapped_file_size_commit_log - MAX_PROPERTIES_BYTES - MAX_OVERHEAD_BYTES
    return min(config.max_message_size, in_segment)


def is_surely_legal(message: InnerMessage, most_body_bytes: int) -> bool:
    """Whether `why_illegal` would find nothing: most messages are far from every limit.

    `most_body_bytes` is what `sure_body_bytes` says. Characters are counted, as if each took four bytes.
    """
    body_bytes, characters = len(message.body), len(message.properties_text)
    if message.parts is not None:
        if not message.parts:
            return False
        body_bytes = sum([len(body) for _, body, _ in message.parts])
        characters = max([len(text) for _, _, text in message.parts])
    return body_bytes <= most_body_bytes and characters <= SURE_TEXT and len(message.topic) <= SURE_TOPIC


def why_illegal(message: InnerMessage, config: MessageStoreConfig) -> AppendResult | None:
    """The refusal of a message or batch that no log could hold; None when it is fine."""
    if len(message.topic.encode()) > MAX_TOPIC_BYTES:
        return AppendResult(PutStatus.MESSAGE_ILLEGAL, f"the topic is longer than {MAX_TOPIC_BYTES} bytes")
    parts = message.parts if message.parts is not None else ((0, message.body, message.properties_text),)
    if not parts:
        return AppendResult(PutStatus.MESSAGE_ILLEGAL, "a batch without messages")
    total = sum(len(body) for _, body, _ in parts)
    if total > config.max_message_size:
        remark = f"a body of {total} bytes; at most {config.max_message_size} are stored"
        return AppendResult(PutStatus.MESSAGE_ILLEGAL, remark)
    for _, body, properties_text in parts:
        length = len(properties_text.encode())
        if length > MAX_PROPERTIES_BYTES:
            remark = f"properties of {length} bytes; at most {MAX_PROPERTIES_BYTES} are stored"
            return AppendResult(PutStatus.PROPERTIES_SIZE_EXCEEDED, remark)
        if len(body) + length + MAX_OVERHEAD_BYTES > config.mapped_file_size_commit_log:
            return AppendResult(PutStatus.MESSAGE_ILLEGAL, "the message does not fit into one segment")
    return None
