"""The root of the one error tree · core

What always holds: every error that a floor raises on purpose is an `MQError`. It carries the protocol's
response code, so that a server can turn any of them into an answer, and a sentence for a person.

Real: org.apache.rocketmq.client.exception.MQBrokerException (equivalent)
"""


class MQError(Exception):
    """Something went wrong that a peer or an operator must be told.

    `response_code` is the code on the wire (1 = SYSTEM_ERROR); `remark` is the sentence that goes with it.
    """

    response_code: int = 1

    def __init__(self, remark: str, response_code: int | None = None) -> None:
        super().__init__(remark)
        self.remark = remark
        if response_code is not None:
            self.response_code = response_code


class SettingsError(MQError):
    """A configuration value that cannot be used: the sentence names key, value and what is allowed."""


class StoreError(MQError):
    """Files on disk that cannot be what they claim to be: the sentence names the file."""
