"""The two-person rule: what could do much harm at once, one person proposes and another one approves.

A proposal is done in the transaction that approves it. The database refuses who approves their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import and_, func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from config.errors import SettingsError
from config.policy import PolicySettings
from config.words import Words, _, joined, ngettext
from worker.domain import Lane, Verdict
from worker.review import audit, rules
from worker.review.desk.reviews import ReviewError, decide_approved
from worker.review.desk.undo import undo_approved
from worker.review.faults import ProposalError
from worker.review.names import name_of
from worker.store import floods, hunts
from worker.store.minor_cases import CaseState, MinorCase
from worker.store.models import Demotion, Review, Upload
from worker.store.proposals import Proposal, ProposalKind

LASTS = timedelta(days=3)
BULK = 25
"""Uploads that one person may release, or serve again, at once."""
EXPIRED = "expired"
_REQUEST = "proposal:"
"""Before its number, the request id by which a proposal is done."""

PROPOSED_BY_ID = (ProposalKind.LIFT_DEMOTION, ProposalKind.APPROVE_HUNT)
"""What is proposed as such; the others are proposed by a decision, an undo, or on the page of a case."""

Payload = str | int | list[int] | dict[str, Any]

_SUBJECTS = {
    ProposalKind.LIFT_DEMOTION: "demotion",
    ProposalKind.APPROVE_HUNT: "hunt",
    ProposalKind.BULK_RESTORE: "review",
    ProposalKind.OVERTURN_MINOR: "minor_case",
    ProposalKind.CHANGE_RULES: "ruleset",
}


@dataclass(frozen=True, slots=True)
class ProposalLine:
    """One proposal that waits; `about` says in words what it would do, `changes` setting by setting."""

    id: int
    kind: str
    subject_id: int
    about: str
    proposed_by: str
    proposed_at: datetime
    expires_at: datetime
    changes: tuple[str, ...] = ()


def check_request_id(request_id: str) -> None:
    """Nobody takes up the request id of a proposal, so that it could not be approved. Raises ReviewError."""
    if request_id.startswith(_REQUEST):
        raise ReviewError(
            _("Request %(request)s has already decided something else.", request=request_id),
            next_step=_("Send each new decision with a request id of its own."),
        )


def propose(
    session: Session,
    kind: ProposalKind,
    subject_id: int,
    *,
    actor: str,
    payload: Mapping[str, Payload] | None = None,
) -> Proposal:
    """Asks for a second person. Raises ProposalError when it waits already or there is nothing of that id to do."""
    _expire(session)
    _require_subject(session, kind, subject_id)
    proposal = Proposal(
        kind=kind,
        subject_id=subject_id,
        payload=dict(payload or {}),
        proposed_by=actor,
        expires_at=func.clock_timestamp() + LASTS,
    )
    try:
        with session.begin_nested():
            session.add(proposal)
    except IntegrityError:
        raise ProposalError(
            _("This is proposed already: %(subject)s.", subject=_subject(kind, subject_id)),
            next_step=_("Somebody else has to approve it."),
        ) from None
    _record(session, proposal, "proposal", actor)
    return proposal


def approve(
    session: Session,
    policy: PolicySettings,
    proposal_id: int,
    *,
    actor: str,
    ledger_enabled: bool = True,
    case: int | None = None,
) -> tuple[tuple[int, Lane], ...]:
    """Does what was proposed; the uploads that it moved. `case`: the overturn of this case alone, and nothing else, is
    meant; without it never an overturn.

    Raises ProposalError, HuntError or ReviewError.
    """
    proposal = _open(session, proposal_id, case)
    if proposal.proposed_by == actor:
        raise ProposalError(
            _("Who proposes can't approve it."), next_step=_("Somebody else has to approve it.")
        )
    proposal.approved_by = actor
    proposal.ended_at = func.clock_timestamp()
    session.flush()
    moved: tuple[tuple[int, Lane], ...] = ()
    by = f"{proposal.proposed_by}, approved by {actor}"
    if proposal.kind == ProposalKind.LIFT_DEMOTION:
        if not floods.lift(session, proposal.subject_id, actor=by):
            raise ProposalError(
                _("There is no demotion %(demotion)s to lift any more.", demotion=proposal.subject_id),
                next_step=_("Reject it."),
            )
    elif proposal.kind == ProposalKind.APPROVE_HUNT:
        hunts.approve(session, proposal.subject_id, actor=by, ledger_enabled=ledger_enabled)
    elif proposal.kind == ProposalKind.CHANGE_RULES:
        rules.approve(session, proposal, actor=actor)
    elif "undo" in proposal.payload:
        moved = undo_approved(
            session,
            policy,
            proposal.payload["review"],
            proposal.payload["undo"],
            actor=proposal.proposed_by,
            approved_by=actor,
            request_id=f"{_REQUEST}{proposal.id}",
            reason=proposal.payload["reason"],
        ).moved
    else:
        payload = proposal.payload
        moved = decide_approved(
            session,
            policy,
            proposal.subject_id,
            Verdict(payload["verdict"]),
            actor=proposal.proposed_by,
            request_id=f"{_REQUEST}{proposal.id}",
            reason=payload["reason"],
            also=payload["also"],
        ).moved
    _record(session, proposal, "approval", actor, moved=len(moved))
    return moved


def propose_undo(
    session: Session, review_id: int, *, actor: str, request_id: str, reason: str = ""
) -> Proposal:
    """Asks for a second person to take back what counts on a review. Raises ProposalError when nothing does."""
    review = session.get(Review, review_id)
    if review is None or review.decision_id is None:
        raise ProposalError(
            _("Review %(review)s has no decision to undo.", review=review_id),
            next_step=_("Load the page again."),
        )
    payload: dict[str, Payload] = {
        "review": review_id,
        "undo": review.decision_id,
        "reason": reason,
        "request_id": request_id,
    }
    return propose(session, ProposalKind.BULK_RESTORE, review_id, actor=actor, payload=payload)


def propose_overturn(session: Session, case_id: int, *, actor: str, reason: str) -> Proposal:
    """Asks another person of the role minor_safety to overturn a suspected minor. Raises ProposalError."""
    row = session.get(MinorCase, case_id)
    review = session.get(Review, row.review_id) if row is not None else None
    if row is None or review is None or review.decision_id is None or not reason.strip():
        raise ProposalError(
            _("Case %(case)s is overturned with a reason, while it stands.", case=case_id),
            next_step=_("Give a reason of one sentence."),
        )
    payload: dict[str, Payload] = {"review": row.review_id, "undo": review.decision_id, "reason": reason}
    return propose(session, ProposalKind.OVERTURN_MINOR, case_id, actor=actor, payload=payload)


def reject(
    session: Session, proposal_id: int, *, actor: str, only_own: bool, case: int | None = None
) -> None:
    """Ends a proposal without an effect. `only_own`: the actor may take back what they proposed, and no more.

    `case` as for `approve`.
    """
    proposal = _open(session, proposal_id, case)
    if only_own and proposal.proposed_by != actor:
        raise ProposalError(_("This is somebody else's proposal."), next_step=_("Ask a lead to reject it."))
    proposal.rejected_by = actor
    proposal.ended_at = func.clock_timestamp()
    _record(session, proposal, "rejection", actor)


def waiting(session: Session, *, case: int | None = None) -> list[ProposalLine]:
    """What waits for a second person, the oldest first: of this case of a suspected minor, or all that is of none."""
    wanted = (
        Proposal.kind != ProposalKind.OVERTURN_MINOR
        if case is None
        else and_(Proposal.kind == ProposalKind.OVERTURN_MINOR, Proposal.subject_id == case)
    )
    rows = session.scalars(
        select(Proposal)
        .where(
            wanted,
            Proposal.approved_by.is_(None),
            Proposal.rejected_by.is_(None),
            Proposal.expires_at > func.clock_timestamp(),
        )
        .order_by(Proposal.id)
    )
    return [
        ProposalLine(
            row.id,
            row.kind,
            row.subject_id,
            _about(session, row),
            row.proposed_by,
            row.proposed_at,
            row.expires_at,
            _changes(session, row),
        )
        for row in rows
    ]


def proposable(session: Session) -> tuple[list[Demotion], list[hunts.RetroHunt]]:
    """Demotions that could be lifted and hunts that wait, and that nobody has proposed yet."""
    proposed = {(line.kind, line.subject_id) for line in waiting(session)}
    demotions = session.scalars(select(Demotion).where(Demotion.lifted_at.is_(None)).order_by(Demotion.id))
    stopped = hunts.list_hunts(session, (hunts.HuntState.STOPPED,))
    return (
        [row for row in demotions if (ProposalKind.LIFT_DEMOTION, row.id) not in proposed],
        [row for row in stopped if (ProposalKind.APPROVE_HUNT, row.id) not in proposed],
    )


def near_words(hunt: hunts.RetroHunt) -> str:
    """How much came near, by bank."""
    return joined(
        *(
            _("%(number)s of %(bank)s", number=number, bank=bank)
            for bank, number in sorted(hunt.counts.items())
        ),
        between=", ",
    )


def _about(session: Session, proposal: Proposal) -> str:
    if proposal.kind == ProposalKind.LIFT_DEMOTION:
        demotion = session.get(Demotion, proposal.subject_id)
        if demotion is None:
            return _("Let a bank entry hold uploads again: it is gone")
        return ngettext(
            "Let an entry of %(bank)s hold uploads again; it hit %(num)s uploader",
            "Let an entry of %(bank)s hold uploads again; it hit %(num)s uploaders",
            demotion.uploaders,
            bank=demotion.bank,
        )
    if proposal.kind == ProposalKind.APPROVE_HUNT:
        hunt = session.get(hunts.RetroHunt, proposal.subject_id)
        return _("Let a hunt in the past act: %(near)s", near=near_words(hunt) if hunt else _("it is gone"))
    if proposal.kind == ProposalKind.OVERTURN_MINOR:
        return _("Overturn it: close the case and open the review again")
    if proposal.kind == ProposalKind.CHANGE_RULES:
        if proposal.payload["source"] == "terminal":
            return _("Change the rules: services take them when they start. Proposed at the terminal")
        return _("Change the rules: services take them when they start")
    payload = proposal.payload
    uploads = session.scalar(
        select(func.count())
        .select_from(Upload)
        .join(Review, Review.content_id == Upload.content_id)
        .where(Review.id.in_([proposal.subject_id, *payload.get("also", [])]))
    )
    return ngettext(
        "Release %(num)s upload at once: %(verdict)s",
        "Release %(num)s uploads at once: %(verdict)s",
        uploads or 0,
        verdict=_("undo of a decision") if "undo" in payload else name_of(payload["verdict"]),
    )


def _changes(session: Session, proposal: Proposal) -> tuple[str, ...]:
    if proposal.kind != ProposalKind.CHANGE_RULES:
        return ()
    try:
        return tuple(change.words for change in rules.proposed_changes(session, proposal))
    except SettingsError as error:
        # Of another version; it can still be rejected.
        return (error.words,)


def _subject(kind: ProposalKind, subject_id: int) -> Words:
    if kind == ProposalKind.LIFT_DEMOTION:
        return _("demotion %(id)s", id=subject_id)
    if kind == ProposalKind.APPROVE_HUNT:
        return _("hunt %(id)s", id=subject_id)
    if kind == ProposalKind.OVERTURN_MINOR:
        return _("case %(id)s", id=subject_id)
    if kind == ProposalKind.CHANGE_RULES:
        return _("a change of the rules")
    return _("review %(id)s", id=subject_id)


def _require_subject(session: Session, kind: ProposalKind, subject_id: int) -> None:
    if kind == ProposalKind.LIFT_DEMOTION:
        demotion = session.get(Demotion, subject_id)
        there = demotion is not None and demotion.lifted_at is None
    elif kind == ProposalKind.APPROVE_HUNT:
        hunt = session.get(hunts.RetroHunt, subject_id)
        there = hunt is not None and hunt.state == hunts.HuntState.STOPPED
    elif kind == ProposalKind.OVERTURN_MINOR:
        row = session.get(MinorCase, subject_id)
        there = row is not None and row.state != CaseState.CLOSED
    elif kind == ProposalKind.CHANGE_RULES:
        there = True
    else:
        there = session.get(Review, subject_id) is not None
    if not there:
        raise ProposalError(
            _("Nothing waits for this any more: %(subject)s.", subject=_subject(kind, subject_id)),
            next_step=_("Load the page again."),
        )


def _open(session: Session, proposal_id: int, case: int | None) -> Proposal:
    proposal = session.get(Proposal, proposal_id, with_for_update=True)
    if proposal is None or _case_of(proposal) != case:
        raise ProposalError(
            _("There is no proposal %(proposal)s.", proposal=proposal_id), next_step=_("Load the page again.")
        )
    late = session.scalar(select(func.clock_timestamp() >= proposal.expires_at))
    if proposal.approved_by is not None or proposal.rejected_by is not None or late:
        raise ProposalError(
            _("Proposal %(proposal)s does not wait any more.", proposal=proposal_id),
            next_step=_("Propose it again if it is still needed."),
        )
    return proposal


def _case_of(proposal: Proposal) -> int | None:
    return proposal.subject_id if proposal.kind == ProposalKind.OVERTURN_MINOR else None


def _expire(session: Session) -> None:
    """Frees what was proposed too long ago to be proposed again."""
    session.execute(
        update(Proposal)
        .where(
            Proposal.approved_by.is_(None),
            Proposal.rejected_by.is_(None),
            Proposal.expires_at <= func.clock_timestamp(),
        )
        .values(rejected_by=EXPIRED, ended_at=func.clock_timestamp())
    )


def _record(session: Session, proposal: Proposal, action: str, actor: str, **details: audit.Detail) -> None:
    audit.record(
        session,
        actor=actor,
        action=action,
        subject=("proposal", proposal.id),
        details={
            "kind": str(proposal.kind),
            _SUBJECTS[ProposalKind(proposal.kind)]: proposal.subject_id,
            "proposed_by": proposal.proposed_by,
            **({"source": proposal.payload["source"]} if "source" in proposal.payload else {}),
            **details,
        },
    )
