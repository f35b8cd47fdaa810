"""Alarms of the banks: one that is not read, an entry that hit too many, and hunts in the past."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from bank_sync.bank import BankCheckpoint
from config.settings import Settings
from config.words import _, joined, ngettext
from worker.operate.age import seconds_since, words
from worker.operate.alarms.alarm import Alarm, AlarmCode
from worker.store.hunts import ACTIVE, HuntState, RetroHunt, RetroMark
from worker.store.models import Demotion

HUNT_LATE_AFTER = 3600.0
"""Seconds after which a hunt, or the hunter's last look, is late: ten million hashes take half a minute."""


def banks(session: Session, settings: Settings) -> Iterator[Alarm]:
    checkpoints = {
        row.bank: row
        for row in session.execute(
            select(
                BankCheckpoint.bank,
                BankCheckpoint.last_error,
                BankCheckpoint.second_keys,
                seconds_since(BankCheckpoint.drained_at).label("age"),
            )
        )
    }
    for name, bank in settings.banks.items():
        if not bank.enabled or bank.exchange == "own":
            continue
        row = checkpoints.get(name)
        if row and row.second_keys:
            yield Alarm(
                AlarmCode.BANK_SECOND_KEY,
                _(
                    "Bank %(bank)s refused %(keys)s: the second keys are in use.",
                    bank=name,
                    keys=", ".join(row.second_keys),
                ),
                _("Put the new keys into the first keys' place; docs/how-to/rotate-secrets.md says how."),
                subject=name,
            )
        age = row.age if row else None
        if age is not None and age <= settings.alarms.bank_stale_after:
            continue
        since = (
            _("Bank %(bank)s was never read to its end.", bank=name)
            if age is None
            else _("Bank %(bank)s was last read to its end %(time)s ago.", bank=name, time=words(age))
        )
        fault = _("Last error: %(fault)s.", fault=row.last_error) if row and row.last_error else ""
        yield Alarm(
            AlarmCode.BANK_STALE,
            joined(since, fault),
            _("Run `hashwarden bank sync %(bank)s`, and check that cron does.", bank=name),
            subject=name,
        )


def floods(session: Session) -> Iterator[Alarm]:
    number = session.scalar(select(func.count()).select_from(Demotion).where(Demotion.lifted_at.is_(None)))
    if number:
        yield Alarm(
            AlarmCode.FLOOD,
            ngettext(
                "%(num)s bank entry hit so many uploaders that it only flags now.",
                "%(num)s bank entries hit so many uploaders that they only flag now.",
                number,
            ),
            _("Look at their reviews; `hashwarden demotions --lift ID` lets one hold again."),
        )


def hunts(session: Session, settings: Settings) -> Iterator[Alarm]:
    stopped = session.scalars(
        select(RetroHunt.id).where(RetroHunt.state == HuntState.STOPPED).order_by(RetroHunt.id)
    ).all()
    if stopped:
        ids = ", ".join(map(str, stopped))
        yield Alarm(
            AlarmCode.HUNT_STOPPED,
            _(
                "New bank hashes would hold or flag unusually many past uploads; hunt %(hunts)s waits for a person.",
                hunts=ids,
            ),
            _("Look at `hashwarden retro status`, then `hashwarden retro approve` or `reject` it."),
        )
    if not settings.ledger.enabled:
        return
    looked = session.scalar(select(seconds_since(RetroMark.at)))
    begun = session.scalar(
        select(seconds_since(func.min(RetroHunt.started_at))).where(RetroHunt.state.in_(ACTIVE))
    )
    late = max(looked or 0.0, begun or 0.0)
    if late > HUNT_LATE_AFTER:
        yield Alarm(
            AlarmCode.HUNT_LATE,
            _("The past has not been searched to its end for %(time)s.", time=words(late)),
            _("Check that `hashwarden dispatch` runs, and its log for dispatch_round_failed."),
        )
