"""What a source of event messages is: each message comes at least once, in any order, until it is done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Message:
    """One message as it came; `handle` is the source's own and is good for one delivery."""

    id: str
    body: str
    handle: str


class EventSource(Protocol):
    def receive(self) -> list[Message]:
        """Waits for messages, not for ever, and returns some or none.

        Raises EventSourceError when the source can't be reached or refuses.
        """

    def done(self, messages: Sequence[Message]) -> None:
        """Ends messages whose content is committed; all others come again.

        Raises EventSourceError; a message whose end failed comes again too.
        """

    def close(self) -> None: ...
