"""The pages on which people decide: the queue, one review, and the forms that take, give back, decide, undo and appeal.

A form that decides carries the token of the claim. Everything works without
the script, which adds keys, a countdown and a sign of life for the claim.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any
from uuid import UUID, uuid4

from fastapi import APIRouter, Depends, Form, HTTPException, Request
from fastapi import Path as InPath
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse
from sqlalchemy import select
from sqlalchemy.orm import Session

from bank_sync.epoch import Pointer
from config.database import Sessions
from config.settings import Settings
from config.words import _
from worker.domain import Lane, Verdict
from worker.operate.health import Alarm, alarms
from worker.review import audit
from worker.review.desk import appeals, claims, proposals
from worker.review.desk.claims import ClaimError
from worker.review.desk.evidence import copies, evidence
from worker.review.desk.listing import list_reviews, review_detail
from worker.review.desk.queue import Counts, Part, Show, counts, not_a_minor, part_counts, queue
from worker.review.desk.reviews import TYPED_OVER, ReviewError, SecondPersonError, decide_review, uploads_in
from worker.review.desk.second import opinions_on
from worker.review.desk.undo import may_undo, undo, undoable
from worker.review.faults import ProposalError
from worker.review.pages.doors import SCRIPT_POLICY, Asks, Doors, of_visitor
from worker.review.pages.kept import Kept
from worker.review.pages.rendering import render
from worker.review.people.people import Visitor
from worker.review.people.permissions import May
from worker.review.reveal.reveals import Reveals
from worker.store.desk import PassKind, Stage
from worker.store.models import Content, Review, Upload
from worker.store.proposals import ProposalKind

ROWS = 50
"""Reviews that the queue shows; the most urgent ones. Its counts say how many there are."""

KEPT_SECONDS = 2.0
"""How long counts by bank and cause, and alarms, are shared by all who look at the queue."""

VERDICT_WORDS = {
    Verdict.CONFIRMED: _("Confirmed: remove it"),
    Verdict.NOT_A_MATCH: _("Not a match, or not intimate: release it"),
    Verdict.LAWFUL: _("The same picture, but lawful or consensual: release it"),
    Verdict.HASH_WRONG: _("The bank's hash is wrong: release it"),
    Verdict.SUSPECTED_MINOR: _("Suspected minor: close everywhere and preserve"),
}
"""In the order of their keys, 1 to 5."""

Number = Annotated[int, InPath(ge=1, lt=2**63)]
Text = Annotated[str, Form()]
Wake = Callable[[Sequence[tuple[int, Lane]]], object]


class DeskPages:
    """The routes; each is behind the doors, which leave in the request's state who it is, and asks for a role."""

    def __init__(
        self,
        settings: Settings,
        sessions: Sessions,
        pointer: Callable[[], Pointer],
        wake: Wake,
        doors: Doors,
        reveals: Reveals | None = None,
    ) -> None:
        self._settings = settings
        self._sessions = sessions
        self._pointer = pointer
        self._wake = wake
        self._doors = doors
        self._reveals = reveals
        self._counts: Kept[Counts] = Kept(KEPT_SECONDS)
        self._alarms: Kept[list[Alarm]] = Kept(KEPT_SECONDS)

    def router(self) -> APIRouter:
        sees, decides = [Depends(Asks(May.SEE_REVIEWS))], [Depends(Asks(May.DECIDE))]
        made = APIRouter(
            dependencies=[Depends(self._doors.enter), Depends(self._doors.check_form)],
            default_response_class=HTMLResponse,
        )
        made.get("/", dependencies=sees)(self.reviews)
        made.get("/minors", dependencies=[Depends(Asks(May.SEE_MINORS))])(self.minors)
        made.get("/reviews/{review_id}", dependencies=sees)(self.review)
        made.post("/next", dependencies=decides)(self.next)
        made.post("/reviews/{review_id}", dependencies=decides)(self.decide)
        made.post("/reviews/{review_id}/take", dependencies=decides)(self.take)
        made.post("/reviews/{review_id}/leave", dependencies=decides)(self.leave)
        made.post("/reviews/{review_id}/undo", dependencies=decides)(self.undo)
        made.post("/uploads/{upload_id}/appeal", dependencies=decides)(self.appeal)
        unattended = APIRouter(
            dependencies=[Depends(self._doors.enter_unattended), Depends(self._doors.check_form)]
        )
        unattended.post("/reviews/{review_id}/alive", dependencies=decides, response_class=JSONResponse)(
            self.alive
        )
        both = APIRouter()
        both.include_router(made)
        both.include_router(unattended)
        return both

    def reviews(
        self, request: Request, show: Show = Show.ALL, bank: str = "", cause: str = "", every: bool = False
    ) -> str:
        user = request.state.user
        part = Part(show, bank, cause)
        with self._sessions() as session:
            if every:
                lines = list_reviews(session, not_a_minor(), closed=True, limit=ROWS)
            else:
                lines = queue(session, user, part, limit=ROWS)
            parts = part_counts(session, user)
            numbers = self._counts.get(lambda: counts(session))
            raised = self._alarms.get(lambda: alarms(session, self._settings, self._pointer))
            mine = undoable(session, user)
        return render(
            "reviews.html",
            **of_visitor(request),
            lines=lines,
            every=every,
            part=part,
            parts=list(Show),
            counts=numbers,
            part_counts=parts,
            alarms=raised,
            rows=ROWS,
            undoable=[(each, str(uuid4())) for each in mine],
        )

    def minors(self, request: Request) -> str:
        """What was decided as a suspected minor, for those whose task it is."""
        with self._sessions() as session:
            lines = list_reviews(session, ~not_a_minor(), closed=True, limit=ROWS)
        return render("minors.html", **of_visitor(request), lines=lines, rows=ROWS)

    def review(self, request: Request, review_id: Number) -> HTMLResponse:
        visitor = request.state.visitor
        with self._sessions.begin() as session:
            values = self._of_review(session, review_id, visitor)
            audit.record(session, actor=visitor.pseudonym, action="look", subject=("review", review_id))
        page = render("review.html", **of_visitor(request), **values)
        return HTMLResponse(page, headers={"Content-Security-Policy": SCRIPT_POLICY})

    def _of_review(self, session: Session, review_id: int, visitor: Visitor) -> dict[str, Any]:
        user = visitor.pseudonym
        review = session.get(Review, review_id)
        hidden = review is not None and review.verdict == Verdict.SUSPECTED_MINOR
        detail = review_detail(session, review_id) if review is not None else None
        if review is None or detail is None or (hidden and not visitor.may(May.SEE_MINORS)):
            raise HTTPException(404, _("There is no review %(review)s.", review=review_id))
        content = session.get_one(Content, review.content_id)
        claim = claims.claim_of(session, review_id) if review.state == "open" else None
        mine = claim if claim is not None and claim.actor == user else None
        held = set(mine.reviews) if mine is not None else set()
        near = copies(session, content)
        together = [content.id, *(copy.content_id for copy in near if copy.review_id in held)]
        said = opinions_on(session, review) if review.stage == Stage.ADJUDICATION else ()
        return {
            "detail": detail,
            "panel": self._reveals.panel(session, user, review_id) if self._reveals is not None else None,
            "evidence": evidence(session, self._settings.policy, content.id, detail.line),
            "copies": near,
            "held": held,
            "claim": mine,
            "taken": claim is not None and mine is None,
            "claim_left": claim.left if claim is not None else 0.0,
            "verdicts": VERDICT_WORDS,
            "reasons": self._settings.review.reasons,
            "request_id": str(uuid4()),
            "removal_delay": self._settings.policy.removal_delay,
            "blast": uploads_in(session, together),
            "contents": len(together),
            "typed_over": TYPED_OVER,
            "undo_until": may_undo(session, review, user, lead=visitor.may(May.UNDO_OTHERS)),
            "blind": review.state == "open" and review.stage != Stage.FIRST,
            # Two opinions without names, and in no order that tells whose is whose.
            "opinions": sorted(opinion.verdict for opinion in said),
            "appeal": appeals.open_appeal_of(session, review_id),
        }

    def next(self, request: Request, bank: Text = "") -> RedirectResponse:
        user = request.state.user
        with _told():
            claim = claims.take_next(self._sessions, user, bank or None)
        return _to(f"/reviews/{claim.reviews[0]}" if claim is not None else "/")

    def take(self, request: Request, review_id: Number) -> RedirectResponse:
        user = request.state.user
        self._check_seen(review_id, request.state.visitor)
        with _told():
            claims.take(self._sessions, review_id, user)
        return _to(f"/reviews/{review_id}")

    def alive(self, request: Request, review_id: Number, claim: Annotated[UUID, Form()]) -> dict[str, float]:
        """The open page's sign of life: seconds that the claim lasts now, 0 when it is gone."""
        user = request.state.user
        renewed = claims.renew(self._sessions, review_id, user, claim)
        return {"left": renewed.left if renewed is not None else 0.0}

    def leave(
        self,
        request: Request,
        review_id: Number,
        how: Text,
        claim: Annotated[UUID | None, Form()] = None,
    ) -> RedirectResponse:
        """Hands back, steps back for good, asks for another person, or skips and takes the next."""
        user = request.state.user
        with _told():
            if how == "back" and claim is not None:
                claims.hand_back(self._sessions, user, claim)
            elif how in set(PassKind):
                claims.step_back(self._sessions, review_id, user, claim, PassKind(how))
            else:
                raise HTTPException(400, _("The form is not one of these pages'. Go back and try again."))
            if how == PassKind.SKIPPED:
                following = claims.take_next(self._sessions, user)
                return _to(f"/reviews/{following.reviews[0]}" if following is not None else "/")
        return _to("/")

    def decide(
        self,
        request: Request,
        review_id: Number,
        verdict: Annotated[Verdict, Form()],
        request_id: Text,
        claim: Annotated[UUID | None, Form()] = None,
        reason: Text = "",
        code: Text = "",
        also: Annotated[list[int] | None, Form()] = None,
        typed: Text = "",
    ) -> RedirectResponse:
        user = request.state.user
        self._check_seen(review_id, request.state.visitor)
        if claim is None and verdict is not Verdict.SUSPECTED_MINOR:
            raise HTTPException(409, claims.gone(review_id).words)
        if code and code not in self._settings.review.reasons:
            raise HTTPException(400, _("The reason is not on the list. Go back and choose another."))
        why = ": ".join(part for part in (code, reason) if part)
        with _told():
            try:
                decided = decide_review(
                    self._sessions,
                    self._settings.policy,
                    review_id,
                    verdict,
                    actor=user,
                    request_id=request_id,
                    reason=why,
                    claim=claim,
                    also=also or (),
                    typed=int(typed) if typed.isdecimal() and len(typed) < 10 else None,
                    most_released=proposals.BULK,
                )
            except SecondPersonError:
                self._propose(user, review_id, verdict, why, also or [], claim)
                return _to("/proposals")
        self._wake(decided.moved)
        if verdict is Verdict.SUSPECTED_MINOR and not request.state.visitor.may(May.SEE_MINORS):
            return _to("/")
        return _to(f"/reviews/{review_id}")

    def _propose(
        self, user: str, review_id: int, verdict: Verdict, reason: str, also: list[int], claim: UUID | None
    ) -> None:
        """Asks for a second person, and lets go of the review meanwhile."""
        payload: dict[str, str | list[int]] = {"verdict": verdict.value, "reason": reason, "also": also}
        with self._sessions.begin() as session:
            for each in sorted({review_id, *also}):
                claims.keep_from(session, each, user, PassKind.SKIPPED)
            if claim is not None:
                claims.release(session, user, claim)
            proposals.propose(session, ProposalKind.BULK_RESTORE, review_id, actor=user, payload=payload)

    def undo(self, request: Request, review_id: Number, request_id: Text) -> RedirectResponse:
        user = request.state.user
        with _told():
            undone = undo(
                self._sessions,
                self._settings.policy,
                review_id,
                actor=user,
                request_id=request_id,
                lead=request.state.visitor.may(May.UNDO_OTHERS),
            )
        self._wake(undone.moved)
        return _to(f"/reviews/{review_id}")

    def appeal(self, request: Request, upload_id: Number, reason: Text) -> RedirectResponse:
        user = request.state.user
        with self._sessions() as session:
            query = select(Review.id).join(Upload, Upload.content_id == Review.content_id)
            review_id = session.scalar(query.where(Upload.id == upload_id)) or 0
        self._check_seen(review_id, request.state.visitor)
        with _told():
            opened = appeals.open_appeal(
                self._sessions, self._settings, upload_id, reason=reason, actor=user, source="page"
            )
        return _to(f"/reviews/{opened.review_id}")

    def _check_seen(self, review_id: int, visitor: Visitor) -> None:
        """What a person may not see they may not touch, and are not told that it is there."""
        with self._sessions() as session:
            verdict = session.scalar(select(Review.verdict).where(Review.id == review_id))
        if verdict is None or (verdict == Verdict.SUSPECTED_MINOR and not visitor.may(May.SEE_MINORS)):
            raise HTTPException(404, _("There is no review %(review)s.", review=review_id))


@contextmanager
def _told() -> Iterator[None]:
    """Turns a refusal into one page with its sentence and next step."""
    try:
        yield
    except (ReviewError, ClaimError, ProposalError, appeals.AppealError) as error:
        raise HTTPException(409, error.words) from None


def _to(address: str) -> RedirectResponse:
    return RedirectResponse(address, status_code=303)
