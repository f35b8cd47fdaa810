"""An event source in memory: for tests and trials."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from uuid import uuid4

from worker.events.source import Message

BATCH = 10


class MemorySource:
    """Thread-safe. A message that is received and not done comes again after `visibility` seconds."""

    def __init__(
        self, visibility: float = 30.0, wait: float = 0.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._visibility = visibility
        self._wait = wait
        self._clock = clock
        self._changed = threading.Condition()
        self._messages: dict[str, tuple[str, float, str]] = {}

    def send(self, body: str) -> None:
        with self._changed:
            self._messages[uuid4().hex] = (body, 0.0, "")
            self._changed.notify_all()

    def receive(self) -> list[Message]:
        with self._changed:
            self._changed.wait_for(lambda: bool(self._visible()), timeout=self._wait)
            received = []
            for name in self._visible()[:BATCH]:
                body, handle = self._messages[name][0], uuid4().hex
                self._messages[name] = (body, self._clock() + self._visibility, handle)
                received.append(Message(name, body, handle))
            return received

    def done(self, messages: Sequence[Message]) -> None:
        with self._changed:
            for message in messages:
                if self._messages.get(message.id, ("", 0.0, ""))[2] == message.handle:
                    del self._messages[message.id]

    def close(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _visible(self) -> list[str]:
        now = self._clock()
        return [name for name, (_, hidden_until, _) in self._messages.items() if hidden_until <= now]
