"""The alarm of rules that do not count, or not yet."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy.orm import Session

from config.errors import SettingsError
from config.rules import Ruleset
from config.settings import Settings
from config.words import _
from worker.operate.alarms.alarm import Alarm, AlarmCode
from worker.store import rulesets


def rules(session: Session, settings: Settings) -> Iterator[Alarm]:
    """What the files of this process say, and what it runs with, beside what was approved."""
    row = rulesets.newest(session) if rulesets.two_may_approve(session) else None
    if row is None:
        return
    try:
        approved = Ruleset.read(row.content).revision
    except SettingsError as error:
        yield Alarm(AlarmCode.RULES_UNAPPROVED, error.message, error.next_step)
        return
    if settings.rules.revision != approved:
        yield Alarm(
            AlarmCode.RULES_UNAPPROVED,
            _("Rules were approved that this service does not run with yet."),
            _("Start the services again: they take them."),
        )
    elif settings.unapproved is not None:
        yield Alarm(
            AlarmCode.RULES_UNAPPROVED,
            _("The files say other rules than those that are approved; the approved ones stay in force."),
            _(
                "`hashwarden rules diff` lists what differs; `hashwarden rules propose` asks for a second person."
            ),
        )
