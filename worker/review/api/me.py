"""Who the caller is, and what is theirs on the pages. Every token may; each call is about its person alone.

A password is not here: who finds a token must not become its person.
"""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import Field, StrictBool

from config.database import Sessions
from config.settings import ReviewSettings
from worker.review.api.bearer import Caller
from worker.review.api.people import SessionAnswer, SessionList
from worker.review.api.values import Number, Responses, Strict
from worker.review.people import people, sign_ins
from worker.review.people.permissions import May, allowed
from worker.store.people import Person, Role


class MeAnswer(Strict):
    pseudonym: str = Field(description="Under which all that the token does is written down.")
    roles: list[Role] = Field(description="Those of the token that its person still has.")
    may: list[May] = Field(description="What they allow, as `x-needs` names it.")
    single_keys: bool = Field(description="Whether one key alone does something on the pages.")


class KeysRequest(Strict):
    single_keys: StrictBool = Field(description="false: no key alone does anything on the pages.")


class MeOperations:
    """The operations on one's own."""

    def __init__(self, settings: ReviewSettings, sessions: Sessions) -> None:
        self._settings = settings
        self._sessions = sessions

    def router(self) -> APIRouter:
        made = APIRouter(tags=["me"])
        made.get("/me")(self.me)
        made.put("/me/keys", status_code=204)(self.keys)
        made.get("/me/sessions")(self.own_sessions)
        refused: Responses = {409: {"description": "The caller has no such open session."}}
        made.delete("/me/sessions/{session_id}", responses=refused, status_code=204)(self.end_own_session)
        return made

    def me(self, caller: Caller) -> MeAnswer:
        """Who the token stands for, and what it may do."""
        with self._sessions() as session:
            single_keys = session.get_one(Person, caller.person_id).single_keys
        return MeAnswer(
            pseudonym=caller.pseudonym,
            roles=list(caller.roles),
            may=sorted(allowed(caller.roles)),
            single_keys=single_keys,
        )

    def keys(self, caller: Caller, request: KeysRequest) -> None:
        """Turn the pages' shortcuts of one key on or off for the caller."""
        with self._sessions.begin() as session:
            people.set_single_keys(session, caller.person_id, on=request.single_keys, actor=caller.pseudonym)

    def own_sessions(self, caller: Caller) -> SessionList:
        """Where the caller is signed in to the pages."""
        with self._sessions() as session:
            lines = sign_ins.listed(session, self._settings, caller.person_id)
        return SessionList(sessions=[SessionAnswer.model_validate(line) for line in lines])

    def end_own_session(self, caller: Caller, session_id: Number) -> None:
        """End one of the caller's sessions at once."""
        with self._sessions.begin() as session:
            people.revoke_own(session, caller.person_id, session_id, actor=caller.pseudonym)
