"""Who may enter the pages, what they may do there, which forms are theirs, and the headers of every answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastapi import HTTPException, Request, Response

from config.database import Sessions
from config.settings import ReviewSettings
from config.words import _
from worker.review.people import sign_ins
from worker.review.people.people import Visitor
from worker.review.people.permissions import May
from worker.store.people import Role

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; connect-src 'self'; img-src 'self' blob:; style-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""On every answer: nothing is loaded from elsewhere, framed, cached or told to another site. `blob:` is the picture
that the script holds while it is shown."""

SCRIPT_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' blob:; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""The policy of pages that load a script or a picture of ours. `blob:` is the picture that a script holds while it is
shown."""

HSTS = {"Strict-Transport-Security": "max-age=31536000"}
"""On every answer where TLS is in front."""

SESSION, DOOR, PROVIDER = "hashwarden", "hashwarden-door", "hashwarden-provider"
"""Cookies: of who is signed in, of a browser that is about to, and of one that was sent to the provider."""


def headers_of(settings: ReviewSettings) -> dict[str, str]:
    return HEADERS | HSTS if settings.tls else HEADERS


class Cookies:
    """Cookies that scripts can't read and other sites can't send; behind TLS no other host can set them either."""

    def __init__(self, settings: ReviewSettings) -> None:
        self._tls = settings.tls
        self._lasts = int(settings.session_lasts)

    def name(self, cookie: str) -> str:
        return f"__Host-{cookie}" if self._tls else cookie

    def read(self, request: Request, cookie: str) -> str:
        return request.cookies.get(self.name(cookie), "")

    def write(self, answer: Response, cookie: str, value: str, *, lax: bool = False) -> None:
        """`lax`: comes along when another site sends the browser here, as an OIDC provider does."""
        answer.set_cookie(
            self.name(cookie),
            value,
            max_age=self._lasts,
            path="/",
            secure=self._tls,
            httponly=True,
            samesite="lax" if lax else "strict",
        )

    def clear(self, answer: Response, cookie: str) -> None:
        answer.delete_cookie(self.name(cookie), path="/", secure=self._tls, httponly=True, samesite="strict")


class Doors:
    """The dependencies that stand before every page. `enter` leaves in the request's state:

    `visitor`, a Visitor; `user`, the visitor's pseudonym; `form_token`, what this session's forms carry as `token`.
    """

    def __init__(self, settings: ReviewSettings, sessions: Sessions) -> None:
        self._settings = settings
        self._sessions = sessions
        self.cookies = Cookies(settings)

    def enter(self, request: Request) -> None:
        """Lets in who has an open session; others are sent to the sign-in page, and nothing of a form is done."""
        self._enter(request, in_use=True)

    def enter_unattended(self, request: Request) -> None:
        """As `enter`, for what a script sends by itself: it does not keep a sign-in from ending."""
        self._enter(request, in_use=False)

    def _enter(self, request: Request, *, in_use: bool) -> None:
        token = self.cookies.read(request, SESSION)
        found = None
        if token:
            with self._sessions.begin() as session:
                found = sign_ins.who(session, token, self._settings, in_use=in_use)
        if found is None:
            if request.method == "GET":
                raise HTTPException(303, _("Sign in first."), headers={"Location": "/sign-in"})
            raise HTTPException(401, _("Your sign-in has ended. Nothing was done: sign in and try again."))
        person, session_id = found
        roles = tuple(Role(role) for role in person.roles)
        request.state.visitor = Visitor(person.id, person.pseudonym, roles, session_id)
        request.state.user = person.pseudonym
        request.state.form_token = sign_ins.form_token(token)

    async def check_form(self, request: Request) -> None:
        """Whatever changes something carries this session's token: a page of another site can't know it."""
        if request.method in {"GET", "HEAD"}:
            return
        given = (await request.form()).get("token")
        if not isinstance(given, str) or not sign_ins.good_form(given, self.cookies.read(request, SESSION)):
            raise HTTPException(
                403,
                _("This form is out of date. Nothing was done: go back, load the page again and try again."),
            )


@dataclass(frozen=True, slots=True)
class Asks:
    """A dependency: the visitor must have a role that allows this."""

    what: May

    def __call__(self, request: Request) -> None:
        if not request.state.visitor.may(self.what):
            raise HTTPException(
                403, _("Your roles do not allow this. Nothing was done; an admin can change them.")
            )


def of_visitor(request: Request) -> dict[str, Any]:
    """What every template of a signed-in page reads."""
    return {
        "user": request.state.user,
        "visitor": request.state.visitor,
        "form_token": request.state.form_token,
    }


def address_of(request: Request, settings: ReviewSettings) -> str:
    """From where a request comes. Behind TLS the last entry of X-Forwarded-For: the proxy in front wrote it."""
    forwarded = request.headers.get("x-forwarded-for", "") if settings.tls else ""
    nearest = forwarded.rpartition(",")[2].strip()[:100]
    return nearest or (request.client.host if request.client else "")
