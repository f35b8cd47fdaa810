"""One alarm, and the codes of all."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class AlarmCode(StrEnum):
    BANK_STALE = "bank_stale"
    BANK_SECOND_KEY = "bank_second_key"
    PENDING_OLD = "pending_old"
    INDEX_MISSING = "index_missing"
    INDEX_STALE = "index_stale"
    INDEX_REFUSED = "index_refused"
    WEBHOOK_BACKLOG = "webhook_backlog"
    FEEDBACK_BACKLOG = "feedback_backlog"
    FLOOD = "flood"
    EFFECT_REFUSED = "effect_refused"
    EFFECT_FAILING = "effect_failing"
    OLD_VERSION = "old_version"
    DISPATCH_SILENT = "dispatch_silent"
    INBOX_REJECTS = "inbox_rejects"
    EVENTS_LOST = "events_lost"
    HUNT_STOPPED = "hunt_stopped"
    HUNT_LATE = "hunt_late"
    REVIEW_OVERDUE = "review_overdue"
    NO_ADJUDICATOR = "no_adjudicator"
    NOT_PRESERVED = "not_preserved"
    RULES_UNAPPROVED = "rules_unapproved"


@dataclass(frozen=True, slots=True)
class Alarm:
    """One thing that a person must look at; `subject` is a bank or '' ."""

    code: AlarmCode
    message: str
    next_step: str
    subject: str = ""
