"""Asks the broker what it is, for probes and doctor; tasks go through Celery."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import ClassVar

import redis

from config.broker import redis_client
from config.errors import HashwardenError, SettingsError
from config.settings import BrokerSettings


class BrokerError(HashwardenError):
    """The broker can't be reached."""

    code: ClassVar[str] = "broker"


@dataclass(frozen=True, slots=True)
class BrokerFacts:
    """What INFO says. `eviction` is maxmemory-policy: anything but noeviction may drop wake-up calls."""

    server: str
    version: str
    eviction: str
    max_bytes: int
    appendonly: bool


def open_broker(settings: BrokerSettings) -> redis.Redis:
    """A client that has not connected yet. Raises SettingsError when the address is none."""
    try:
        return redis_client(settings)
    except (ValueError, redis.RedisError):
        raise SettingsError(
            "The setting broker.url is not an address of Redis or Valkey.",
            next_step="It looks like redis://host:6379/0 or redis+socket:///path; set HASHWARDEN_BROKER__URL.",
        ) from None


def ask(settings: BrokerSettings) -> BrokerFacts:
    """Connects and asks. Raises BrokerError or SettingsError, without address or credentials."""
    with closing(open_broker(settings)) as client:
        try:
            return facts_of(client)
        except (redis.RedisError, OSError) as error:
            raise BrokerError(
                f"The broker can't be reached ({type(error).__name__}).",
                next_step="Check HASHWARDEN_BROKER__URL and that Redis or Valkey is running; nothing is lost.",
            ) from None


def facts_of(client: redis.Redis) -> BrokerFacts:
    """What the server of a client says of itself. Raises redis-py's errors."""
    facts = client.info()
    return BrokerFacts(
        server=str(facts.get("server_name") or "redis"),
        version=str(facts.get("valkey_version") or facts.get("redis_version", "")),
        eviction=str(facts.get("maxmemory_policy", "")),
        max_bytes=int(facts.get("maxmemory", 0)),
        appendonly=bool(facts.get("aof_enabled", 0)),
    )
