"""The pages on which people decide: the queue, one review, and the forms that take, give back, decide, undo and appeal.

A form that decides carries the token of the claim. Everything works without
the script, which adds keys, a countdown and a sign of life for the claim.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from typing import Annotated
from urllib.parse import urlencode
from uuid import UUID, uuid4

from fastapi import APIRouter, Depends, Form, HTTPException, Request
from fastapi import Path as InPath
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse

from bank_sync.epoch import Pointer
from config.database import Sessions
from config.settings import Settings
from config.words import _
from worker.domain import Verdict
from worker.operate.alarms.alarm import Alarm
from worker.operate.health import alarms
from worker.review.desk.appeals import AppealError
from worker.review.desk.checks import TYPED_OVER, ReviewError
from worker.review.desk.claims import ClaimError
from worker.review.desk.desk import Desk, Leave
from worker.review.desk.queue import Counts, Part, Show
from worker.review.faults import NotThereError, ProposalError, UnknownReasonError
from worker.review.pages.doors import SCRIPT_POLICY, Asks, Doors, of_visitor
from worker.review.pages.kept import Kept
from worker.review.pages.refusal import Refusal
from worker.review.pages.rendering import render
from worker.review.people.permissions import May
from worker.review.reveal.access import Purpose
from worker.review.reveal.reveals import Reveals

ROWS = 50
"""Reviews that the queue shows; the most urgent ones. Its counts say how many there are."""

NEXT = "#next"
"""Where the next action is on a page that follows: its button has the focus, with and without the script."""

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

PURPOSE_WORDS = {
    Purpose.ADVICE: _("a colleague asked for advice"),
    Purpose.QUALITY: _("to look again at how it was decided"),
    Purpose.REQUEST: _("somebody concerned, a court or an authority asks"),
    Purpose.INCIDENT: _("a fault or a misuse is looked into"),
}

_MINE = "/?show=mine"
_IN_HAND = _("What is in your hands")
_AGAIN = _("Open it again")

Number = Annotated[int, InPath(ge=1, lt=2**63)]
Text = Annotated[str, Form()]


class DeskPages:
    """The routes; each is behind the doors, which leave in the request's state who it is, and asks for a role."""

    def __init__(
        self,
        settings: Settings,
        sessions: Sessions,
        pointer: Callable[[], Pointer],
        desk: Desk,
        doors: Doors,
        reveals: Reveals | None = None,
    ) -> None:
        self._settings = settings
        self._sessions = sessions
        self._pointer = pointer
        self._desk = desk
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
        made.get("/reviews/{review_id}", dependencies=sees)(self.review)
        made.post("/next", dependencies=decides)(self.next)
        made.post("/reviews/{review_id}", dependencies=decides)(self.decide)
        made.post("/reviews/{review_id}/take", dependencies=decides)(self.take)
        made.post("/reviews/{review_id}/leave", dependencies=decides)(self.leave)
        made.post("/reviews/{review_id}/undo", dependencies=decides)(self.undo)
        made.post("/uploads/{upload_id}/appeal", dependencies=[Depends(Asks(May.APPEAL))])(self.appeal)
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
        part = Part(show, bank, cause)
        queue = self._desk.queue(request.state.visitor, part, limit=ROWS, every=every)
        return render(
            "reviews.html",
            **of_visitor(request),
            lines=queue.lines,
            every=every,
            part=part,
            parts=list(Show),
            counts=self._counts.get(self._desk.counts),
            part_counts=queue.parts,
            alarms=self._alarms.get(self._raised),
            rows=ROWS,
            undoable=[(each, str(uuid4())) for each in queue.undoable],
        )

    def _raised(self) -> list[Alarm]:
        with self._sessions() as session:
            return alarms(session, self._settings, self._pointer)

    def review(self, request: Request, review_id: Number, bank: str = "") -> HTMLResponse:
        visitor = request.state.visitor
        with _told("/"):
            look = self._desk.look(visitor, review_id)
        page = render(
            "review.html",
            **of_visitor(request),
            **{field.name: getattr(look, field.name) for field in fields(look)},
            held=look.held,
            of_bank=bank,
            panel=self._reveals.panel(visitor, review_id) if self._reveals is not None else None,
            purposes=PURPOSE_WORDS,
            verdicts=VERDICT_WORDS,
            reasons=self._settings.review.reasons,
            request_id=str(uuid4()),
            removal_delay=self._settings.policy.removal_delay,
            typed_over=TYPED_OVER,
        )
        return HTMLResponse(page, headers={"Content-Security-Policy": SCRIPT_POLICY})

    def next(self, request: Request, bank: Text = "") -> RedirectResponse:
        with _told(_MINE):
            claim = self._desk.next(request.state.visitor, bank)
        return _to(_of(bank, _page(claim.reviews[0]) if claim is not None else "/"))

    def take(self, request: Request, review_id: Number) -> RedirectResponse:
        with _told(_page(review_id)):
            self._desk.take(request.state.visitor, review_id)
        return _to(_page(review_id))

    def alive(self, request: Request, review_id: Number, claim: Annotated[UUID, Form()]) -> dict[str, float]:
        """The open page's sign of life: seconds that the claim lasts now, 0 when it is gone."""
        renewed = self._desk.renew(request.state.visitor, review_id, claim)
        return {"left": renewed.left if renewed is not None else 0.0}

    def leave(
        self,
        request: Request,
        review_id: Number,
        how: Annotated[Leave, Form()],
        claim: Annotated[UUID | None, Form()] = None,
        bank: Text = "",
    ) -> RedirectResponse:
        """Hands back, steps back for good, asks for another person, or skips and takes the next of the same bank."""
        with _told(_of(bank, _page(review_id))):
            self._desk.leave(request.state.visitor, review_id, how, claim)
        if how is Leave.SKIPPED:
            with _told(_MINE):
                following = self._desk.next(request.state.visitor, bank)
            if following is not None:
                return _to(_of(bank, _page(following.reviews[0])))
        return _to(_of(bank, "/") + NEXT)

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
        bank: Text = "",
    ) -> RedirectResponse:
        with _told(_of(bank, _page(review_id)), reason):
            outcome = self._desk.decide(
                request.state.visitor,
                review_id,
                verdict,
                request_id=request_id,
                claim=claim,
                code=code,
                reason=reason,
                also=also or (),
                typed=int(typed) if typed.isdecimal() and len(typed) < 10 else None,
            )
        if outcome.proposal_id is not None:
            return _to("/proposals")
        return _to(_of(bank, "/" if outcome.hidden else _page(review_id)) + NEXT)

    def undo(
        self,
        request: Request,
        review_id: Number,
        request_id: Text,
        also: Annotated[list[int] | None, Form()] = None,
    ) -> RedirectResponse:
        with _told(_page(review_id)):
            undone = self._desk.undo(request.state.visitor, review_id, request_id=request_id, also=also or ())
        return _to("/proposals" if undone.proposal_id is not None else _page(review_id) + "#decide")

    def appeal(self, request: Request, upload_id: Number, reason: Text) -> RedirectResponse:
        with _told(f"/uploads/{upload_id}", reason):
            opened = self._desk.appeal(request.state.visitor, upload_id, reason=reason, source="page")
        return _to(_page(opened.review_id))


@contextmanager
def _told(at: str, written: str = "") -> Iterator[None]:
    """Turns a refusal into one page with its sentence and next step, that leads to `at` and gives back `written`."""
    try:
        yield
    except NotThereError as error:
        raise HTTPException(404, error.words) from None
    except UnknownReasonError as error:
        raise HTTPException(400, error.words) from None
    except (ReviewError, ClaimError, ProposalError, AppealError) as error:
        raise Refusal(error.words, (at, _IN_HAND if at == _MINE else _AGAIN), written) from None


def _page(review_id: int) -> str:
    return f"/reviews/{review_id}"


def _of(bank: str, path: str) -> str:
    """The path for somebody who takes reviews of one bank, if they do: what comes next is of it too."""
    return f"{path}?{urlencode({'bank': bank})}" if bank else path


def _to(address: str) -> RedirectResponse:
    return RedirectResponse(address, status_code=303)
