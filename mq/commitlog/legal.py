"""May this message be stored at all? What a record cannot hold is refused before anything is touched · depth

Real: org.apache.rocketmq.store.DefaultMessageStore.checkMessage (equivalent)
"""

from mq.commitlog.config import MessageStoreConfig
from mq.commitlog.put import AppendResult, InnerMessage, PutStatus
from mq.commitlog.record import MAX_OVERHEAD_BYTES, MAX_PROPERTIES_BYTES, MAX_TOPIC_BYTES

MOST_UTF8_BYTES = 4  # of one character


def is_surely_legal(message: InnerMessage, config: MessageStoreConfig) -> bool:
    """Whether `why_illegal` would find nothing, by counting characters: most are far from any limit."""
    if message.parts is None:
        body_bytes = largest = len(message.body)
        characters = len(message.properties_text)
    else:
        body_bytes = largest = characters = 0
        for _, body, properties_text in message.parts:
            length = len(body)
            body_bytes += length
            if length > largest:
                largest = length
            if len(properties_text) > characters:
                characters = len(properties_text)
        if not message.parts:
            return False
    most_bytes = MOST_UTF8_BYTES * characters
    return (
        MOST_UTF8_BYTES * len(message.topic) <= MAX_TOPIC_BYTES
        and body_bytes <= config.max_message_size
        and most_bytes <= MAX_PROPERTIES_BYTES
        and largest + most_bytes + MAX_OVERHEAD_BYTES <= config.mapped_file_size_commit_log
    )


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
