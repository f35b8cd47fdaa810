"""A person's own page: shortcuts of one key, their sessions, their password."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

from fastapi import APIRouter, Depends, Form, HTTPException, Request
from fastapi import Path as InPath
from fastapi.responses import HTMLResponse, RedirectResponse

from config.database import Sessions
from config.settings import Settings
from worker.review.faults import PeopleError, SignInError, TooManyTriesError
from worker.review.pages.doors import SESSION, Doors, of_visitor
from worker.review.pages.rendering import render
from worker.review.people import entrance, people, sign_ins
from worker.review.people.addresses import address_of
from worker.review.people.passwords import LONGEST, SHORTEST
from worker.store.people import Person

Number = Annotated[int, InPath(ge=1, lt=2**63)]
Password = Annotated[str, Form(max_length=LONGEST)]


class MePages:
    """The routes; each is for whoever is signed in, and about them alone."""

    def __init__(self, settings: Settings, sessions: Sessions, doors: Doors) -> None:
        self._settings = settings
        self._sessions = sessions
        self._doors = doors

    def router(self) -> APIRouter:
        made = APIRouter(
            prefix="/me",
            dependencies=[Depends(self._doors.enter), Depends(self._doors.check_form)],
            default_response_class=HTMLResponse,
        )
        made.get("")(self.page)
        made.post("/keys")(self.keys)
        made.post("/password")(self.password)
        made.post("/sessions/{session_id}/end")(self.end_session)
        return made

    def page(self, request: Request) -> str:
        visitor = request.state.visitor
        with self._sessions() as session:
            person = session.get_one(Person, visitor.person_id)
            lines = sign_ins.listed(session, self._settings.review, visitor.person_id)
            return render(
                "me.html",
                **of_visitor(request),
                sessions=lines,
                by_provider=person.subject is not None,
                has_password=person.password_hash is not None,
                shortest=SHORTEST,
                longest=LONGEST,
            )

    def keys(self, request: Request, single_keys: Annotated[bool, Form()] = False) -> RedirectResponse:
        visitor = request.state.visitor
        with self._sessions.begin() as session:
            people.set_single_keys(session, visitor.person_id, on=single_keys, actor=visitor.pseudonym)
        return RedirectResponse("/me", status_code=303)

    def password(self, request: Request, new: Password, old: Password = "") -> RedirectResponse:
        """Ends all sessions of this person: they sign in again with the new one."""
        with _told():
            entrance.change_password(
                self._sessions,
                request.state.visitor.person_id,
                old,
                new,
                address_of(request, self._settings.review),
            )
        answer = RedirectResponse("/sign-in", status_code=303)
        self._doors.cookies.clear(answer, SESSION)
        return answer

    def end_session(self, request: Request, session_id: Number) -> RedirectResponse:
        visitor = request.state.visitor
        with _told(), self._sessions.begin() as session:
            people.revoke_own(session, visitor.person_id, session_id, actor=visitor.pseudonym)
        return RedirectResponse("/me", status_code=303)


@contextmanager
def _told() -> Iterator[None]:
    """Shows an expected failure as a page."""
    try:
        yield
    except TooManyTriesError as error:
        raise HTTPException(429, error.words) from None
    except (SignInError, PeopleError) as error:
        raise HTTPException(409, error.words) from None
