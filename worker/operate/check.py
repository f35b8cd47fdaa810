"""One line of `hashwarden doctor`: what was tried, how it went, and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was tried. `fail`: do not go live so; `warn`: it runs, and something is missing."""

    part: str
    name: str
    status: Status
    detail: str = ""
    next_step: str = ""
