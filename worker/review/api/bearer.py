"""Who calls the API: a token in the header `Authorization: Bearer hw_...`, and what its roles allow.

No cookie counts here, so that no page of another site can call in somebody's name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from config.database import Sessions
from config.settings import ReviewSettings
from worker.review.api.problems import ForbiddenError, UnauthorizedError
from worker.review.people import throttle, tokens
from worker.review.people.addresses import address_of
from worker.review.people.people import Visitor
from worker.review.people.permissions import May

_scheme = HTTPBearer(
    scheme_name="token",
    bearerFormat="hw_...",
    description="`hashwarden people token add` makes one.",
    auto_error=False,
)


class Bearers:
    """The dependency before every operation; it leaves the Visitor in the request's state."""

    def __init__(self, settings: ReviewSettings, sessions: Sessions) -> None:
        self._settings = settings
        self._sessions = sessions

    def enter(
        self,
        request: Request,
        given: Annotated[HTTPAuthorizationCredentials | None, Security(_scheme)] = None,
    ) -> None:
        """Raises UnauthorizedError, or TooManyTriesError for an address that sent many wrong tokens."""
        if given is None or not tokens.well_formed(given.credentials):
            raise UnauthorizedError(
                "No token came, or something that is none.",
                next_step="Send the header `Authorization: Bearer hw_...`.",
            )
        with self._sessions.begin() as session:
            bearer = tokens.bearer_of(session, given.credentials)
            if bearer is None:
                throttle.refuse_token(session, address_of(request, self._settings))
        if bearer is None:
            raise UnauthorizedError(
                "The token is wrong, was revoked, or its time is over.",
                next_step="`hashwarden people token add` makes another one.",
            )
        request.state.visitor = Visitor(bearer.person_id, bearer.pseudonym, bearer.roles, session_id=None)


def visitor_of(request: Request) -> Visitor:
    """Whom `Bearers.enter` has let in."""
    visitor = request.state.visitor
    assert isinstance(visitor, Visitor)  # noqa: S101 (no route is without `enter`)
    return visitor


Caller = Annotated[Visitor, Depends(visitor_of)]


@dataclass(frozen=True, slots=True)
class Needs:
    """A dependency: the token must have a role that allows this."""

    what: May

    def __call__(self, caller: Caller) -> None:
        if not caller.may(self.what):
            raise ForbiddenError(
                "The roles of this token do not allow this.",
                next_step="An admin can make one with another role.",
            )
