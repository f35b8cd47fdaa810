"""Whether a Redis keeps what is put into it when memory runs out and when it is restarted."""

from __future__ import annotations

from collections.abc import Iterator

from worker.operate.broker import BrokerFacts
from worker.operate.check import Check, Status


def keeping_checks(
    part: str, facts: BrokerFacts, *, evicts: str, forgets: str, where: str
) -> Iterator[Check]:
    """`evicts` and `forgets` say what memory that runs out and a restart would cost, `where` whose setting it is."""
    if facts.eviction == "noeviction":
        yield Check(part, "maxmemory-policy", Status.OK, facts.eviction)
    else:
        yield Check(
            part,
            "maxmemory-policy",
            Status.FAIL if facts.max_bytes else Status.WARN,
            f"{facts.eviction}: {evicts} when memory runs out.",
            f"Set maxmemory-policy noeviction {where}.",
        )
    if facts.appendonly:
        yield Check(part, "appendonly", Status.OK, "on")
    else:
        yield Check(part, "appendonly", Status.WARN, f"Off: {forgets}.", f"Set appendonly yes {where}.")
