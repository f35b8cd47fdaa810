"""Plain clients of Redis or Valkey: of the broker, for queue depths and health, and of MinIO's list of events."""

from __future__ import annotations

import redis
from pydantic import SecretStr

from config.settings import BrokerSettings

_TIMEOUT = 5.0


def redis_client(settings: BrokerSettings) -> redis.Redis:
    """A client of the same server and database number as Celery's `redis://` or `redis+socket://` address."""
    return client_at(settings.url)


def client_at(address: SecretStr, *, blocking: float = 0.0) -> redis.Redis:
    """A client of an address in Celery's or redis-py's form; it has not connected yet.

    `blocking` is the longest wait, in seconds, of a command that blocks. Raises ValueError for what is no address.
    """
    url = address.get_secret_value()
    if url.startswith("redis+socket://"):
        path, _, query = url.removeprefix("redis+socket://").partition("?")
        number = dict(pair.partition("=")[::2] for pair in query.split("&") if pair).get("virtual_host", "0")
        url = f"unix://{path}?db={number.lstrip('/') or 0}"
    return redis.Redis.from_url(url, socket_timeout=blocking + _TIMEOUT, socket_connect_timeout=_TIMEOUT)
