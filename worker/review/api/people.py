"""People, their sessions and tokens; for admins. Ways in, links and tokens, are made on the command line alone."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import Field
from sqlalchemy.orm import Session

from config.database import Sessions
from config.settings import ReviewSettings
from worker.review.api.bearer import Caller, Needs
from worker.review.api.values import Needed, Number, Responses, Strict
from worker.review.faults import NotThereError, PeopleError
from worker.review.people import people, sign_ins, tokens
from worker.review.people.permissions import May
from worker.store.people import Person, Role

_Roles = Annotated[list[Role], Field(min_length=1, max_length=len(Role), description="They add up.")]


class PersonRequest(Strict):
    name: Needed = Field(description="Shown to admins only.")
    roles: _Roles


class RolesRequest(Strict):
    roles: _Roles


class PersonAnswer(Strict):
    id: int
    name: str
    pseudonym: str
    roles: list[Role]
    disabled: bool
    created_at: datetime


class PeopleList(Strict):
    people: list[PersonAnswer] = Field(description="By name.")


class SessionAnswer(Strict):
    id: int
    pseudonym: str
    way: str = Field(description="password, link or oidc.")
    created_at: datetime
    seen_at: datetime = Field(description="To the minute.")
    expires_at: datetime


class SessionList(Strict):
    sessions: list[SessionAnswer] = Field(description="The newest first.")


class TokenAnswer(Strict):
    id: int
    pseudonym: str
    roles: list[Role]
    created_at: datetime
    expires_at: datetime
    used_at: datetime | None = Field(description="To the minute; null: never.")


class TokenList(Strict):
    tokens: list[TokenAnswer] = Field(description="Those that work, the newest first; none of them is shown.")


class PeopleOperations:
    """The operations on people. Each change is an entry in the audit log."""

    def __init__(self, settings: ReviewSettings, sessions: Sessions) -> None:
        self._settings = settings
        self._sessions = sessions

    def router(self) -> APIRouter:
        made = APIRouter(tags=["people"])
        manages = [Depends(Needs(May.MANAGE_PEOPLE))]
        absent: Responses = {404: {"description": "There is no such person."}}
        refused: Responses = {409: {"description": "Nothing was done: `detail` says why."}}
        one = "/people/{person_id}"
        made.get("/people", dependencies=manages)(self.people)
        made.post("/people", dependencies=manages, responses=refused, status_code=201)(self.invite)
        made.put(f"{one}/roles", dependencies=manages, responses=absent | refused)(self.roles)
        made.post(f"{one}/disable", dependencies=manages, responses=absent)(self.disable)
        made.post(f"{one}/enable", dependencies=manages, responses=absent)(self.enable)
        made.get("/sessions", dependencies=manages)(self.sessions)
        made.delete("/sessions/{session_id}", dependencies=manages, responses=refused, status_code=204)(
            self.end_session
        )
        made.get("/tokens", dependencies=manages)(self.tokens)
        made.delete("/tokens/{token_id}", dependencies=manages, responses=refused, status_code=204)(
            self.revoke
        )
        return made

    def people(self) -> PeopleList:
        """Everybody, with name and pseudonym."""
        with self._sessions() as session:
            return PeopleList(people=[PersonAnswer.model_validate(each) for each in people.listed(session)])

    def invite(self, caller: Caller, request: PersonRequest) -> PersonAnswer:
        """Make a person, with a pseudonym drawn at random. They come in by a link or a password of the command line.

        No way in is given here: who could make a person and sign in as them would be two persons.
        """
        with self._sessions.begin() as session:
            person = people.add(session, request.name, set(request.roles), actor=caller.pseudonym)
            session.refresh(person)
            return PersonAnswer.model_validate(person)

    def roles(self, caller: Caller, person_id: Number, request: RolesRequest) -> PersonAnswer:
        """Replace a person's roles; it counts from their next page or call on."""
        with self._sessions.begin() as session:
            if person_id == caller.person_id:
                raise PeopleError(
                    "Nobody changes their own roles.", next_step="Ask another admin, or use the command line."
                )
            person = _person(session, person_id)
            people.set_roles(session, person, set(request.roles), actor=caller.pseudonym)
            return PersonAnswer.model_validate(person)

    def disable(self, caller: Caller, person_id: Number) -> PersonAnswer:
        """Let a person in no more; their sessions, links and tokens end at once."""
        with self._sessions.begin() as session:
            person = _person(session, person_id)
            people.disable(session, person, actor=caller.pseudonym)
            return PersonAnswer.model_validate(person)

    def enable(self, caller: Caller, person_id: Number) -> PersonAnswer:
        """Let a person in again; what ended stays ended."""
        with self._sessions.begin() as session:
            person = _person(session, person_id)
            people.enable(session, person, actor=caller.pseudonym)
            return PersonAnswer.model_validate(person)

    def sessions(self) -> SessionList:
        """Who is signed in to the pages."""
        with self._sessions() as session:
            lines = sign_ins.listed(session, self._settings)
        return SessionList(sessions=[SessionAnswer.model_validate(line) for line in lines])

    def end_session(self, caller: Caller, session_id: Number) -> None:
        """End one session at once."""
        with self._sessions.begin() as session:
            people.revoke(session, session_id, actor=caller.pseudonym)

    def tokens(self) -> TokenList:
        """Whose tokens work."""
        with self._sessions() as session:
            lines = tokens.listed(session)
        return TokenList(tokens=[TokenAnswer.model_validate(line) for line in lines])

    def revoke(self, caller: Caller, token_id: Number) -> None:
        """End one token at once."""
        with self._sessions.begin() as session:
            tokens.revoke(session, token_id, actor=caller.pseudonym)


def _person(session: Session, person_id: int) -> Person:
    person = session.get(Person, person_id, with_for_update=True)
    if person is None:
        raise NotThereError(f"There is no person {person_id}.", next_step="GET /people lists everybody.")
    return person
