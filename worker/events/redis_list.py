"""Event messages from the Redis or Valkey list to which MinIO appends them (target `notify_redis`, format `access`).

A message is moved to this process's own processing list in one step and leaves it when it is done, so at each moment
it is in a list: a process that dies between takes nothing with it. What is still in our own list at the next poll
was not done and goes to the end of the queue. A process that did not poll for a minute counts as dead, and what is
in its list goes back to the front; if it lives after all, its messages come twice.

MinIO's other format, `namespace`, keeps one field a key in a hash and deletes it when the object is deleted: an upload
that was deleted at once would leave no trace. It is refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from uuid import uuid4

import redis
from redis.exceptions import ResponseError

from config.broker import client_at
from config.errors import SettingsError
from config.events import EventSettings
from worker.errors import EventSourceError
from worker.events.source import Message

BATCH = 10

POLL_SECONDS = 5
DEAD_AFTER = 60
"""Seconds without a poll; the longest pause of the bridge between two polls is half of it."""

FORGOTTEN_AFTER = 7 * 86400
"""Seconds until a dead process's name goes; long, as one that was only stopped may write to its list once more."""

_RETURN = """
local now = tonumber(redis.call('TIME')[1])
while redis.call('LMOVE', KEYS[3], KEYS[1], 'LEFT', 'RIGHT') do end
for _, name in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now - ARGV[2])) do
  while redis.call('LMOVE', KEYS[2] .. ':' .. name, KEYS[1], 'RIGHT', 'LEFT') do end
end
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now - ARGV[3])
redis.call('ZADD', KEYS[2], now, ARGV[1])
"""
"""In one step: what we did not end, and what the dead did not, goes back; and we are alive."""


class NotAListError(EventSourceError):
    """The key holds something else than a list; no later try will find one."""


class RedisListSource:
    """One list. For one thread: a second one's poll would give back what the first has in hand.

    Raises SettingsError when events.redis_url is no address. Needs LMOVE: Redis 6.2 or newer, or Valkey.
    """

    def __init__(
        self, settings: EventSettings, *, poll_seconds: int = POLL_SECONDS, dead_after: int = DEAD_AFTER
    ) -> None:
        self._key = settings.redis_key
        self._processing = f"{settings.redis_key}:processing"
        self._name = uuid4().hex
        self._poll_seconds = poll_seconds
        self._dead_after = dead_after
        self._client = open_list(settings, blocking=poll_seconds)
        self._return = self._client.register_script(_RETURN)

    @property
    def _own(self) -> str:
        return f"{self._processing}:{self._name}"

    def receive(self) -> list[Message]:
        with redis_errors(self._key):
            self._give_back()
            bodies = self._move(BATCH)
            if not bodies and self._poll_seconds:
                first = self._client.blmove(self._key, self._own, self._poll_seconds, "LEFT", "RIGHT")
                bodies = [first, *self._move(BATCH - 1)] if isinstance(first, bytes) else []
        return [
            # The body as text may differ from the bytes in the list, by which `done` finds the message.
            Message(_digest(body), body.decode("utf-8", "replace"), body.hex())
            for body in bodies
        ]

    def done(self, messages: Sequence[Message]) -> None:
        if not messages:
            return
        with redis_errors(self._key), self._client.pipeline(transaction=False) as pipeline:
            for message in messages:
                # Of two messages with the same body either may go: what they tell is committed.
                pipeline.lrem(self._own, 1, bytes.fromhex(message.handle))  # type: ignore[arg-type] # takes bytes
            pipeline.execute()

    def close(self) -> None:
        """Gives back what is not done, if the server answers; else it goes back once we count as dead."""
        with suppress(EventSourceError), redis_errors(self._key):
            self._give_back()
            self._client.zrem(self._processing, self._name)
        self._client.close()

    def _give_back(self) -> None:
        self._return(
            keys=[self._key, self._processing, self._own],
            args=[self._name, self._dead_after, FORGOTTEN_AFTER],
        )

    def _move(self, most: int) -> list[bytes]:
        with self._client.pipeline(transaction=False) as pipeline:
            for _ in range(most):
                pipeline.lmove(self._key, self._own, "LEFT", "RIGHT")
            return [body for body in pipeline.execute() if body is not None]


def open_list(settings: EventSettings, *, blocking: float = 0.0) -> redis.Redis:
    """A client that has not connected yet. Raises SettingsError when events.redis_url is no address."""
    try:
        return client_at(settings.redis_url, blocking=blocking)
    except (ValueError, redis.RedisError):
        raise SettingsError(
            "The setting events.redis_url is not an address of Redis or Valkey.",
            next_step="It looks like redis://:password@host:6379/0; set HASHWARDEN_EVENTS__REDIS_URL.",
        ) from None


def waiting(client: redis.Redis, key: str) -> int:
    """How many messages wait in the list. Raises EventSourceError, also where MinIO writes the other format."""
    with redis_errors(key):
        return int(client.llen(key))


@contextmanager
def redis_errors(key: str) -> Iterator[None]:
    """Turns faults of Redis into EventSourceError, without address or password."""
    try:
        yield
    except ResponseError as error:
        if "WRONGTYPE" in str(error):
            raise NotAListError(
                f"The key {key} is no list: MinIO writes to it in the format `namespace`, which forgets an upload "
                "when it is deleted.",
                next_step="Set format=access and another key in MinIO's notify_redis, and events.redis_key to that.",
            ) from None
        raise EventSourceError(
            f"The Redis of events.redis_url refused ({type(error).__name__}).",
            next_step="It must be Redis 6.2 or newer or Valkey, and the user may use lists, sorted sets and EVAL.",
        ) from None
    except (redis.RedisError, OSError) as error:
        raise EventSourceError(
            f"The Redis of events.redis_url can't be reached ({type(error).__name__}).",
            next_step="It is tried again; check HASHWARDEN_EVENTS__REDIS_URL and that the server runs.",
        ) from None


def _digest(body: bytes) -> str:
    return hashlib.blake2b(body, digest_size=8).hexdigest()
