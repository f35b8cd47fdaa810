"""A plain client of the broker, for queue depths and health; tasks go through Celery."""

from __future__ import annotations

import redis

from config.settings import BrokerSettings


def redis_client(settings: BrokerSettings) -> redis.Redis:
    """A client of the same server and database number as Celery's `redis://` or `redis+socket://` address."""
    url = settings.url.get_secret_value()
    if url.startswith("redis+socket://"):
        path, _, query = url.removeprefix("redis+socket://").partition("?")
        number = dict(pair.partition("=")[::2] for pair in query.split("&") if pair).get("virtual_host", "0")
        url = f"unix://{path}?db={number.lstrip('/') or 0}"
    return redis.Redis.from_url(url, socket_timeout=5, socket_connect_timeout=5)
