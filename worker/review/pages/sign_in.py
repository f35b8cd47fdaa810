"""The pages by which people come in and leave."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Form, HTTPException, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from sqlalchemy import select

from config.database import Sessions
from config.settings import Settings
from config.words import _
from worker.review.faults import SignInError, TooManyTriesError
from worker.review.pages.doors import DOOR, PROVIDER, SESSION, Doors, address_of
from worker.review.pages.rendering import render
from worker.review.people import entrance, sign_ins
from worker.review.people.oidc import BACK, Oidc
from worker.review.people.permissions import May
from worker.store.people import Person

_HOMES = (
    (May.SEE_REVIEWS, "/"),
    (May.MANAGE_PEOPLE, "/people"),
    (May.SEE_AUDIT, "/audit"),
    (May.SEE_PROPOSALS, "/proposals"),
)
"""The first page that a visitor may see is theirs to begin with."""


class SignInPages:
    """Forms here carry a token of a cookie that the sign-in page gave: nobody is signed in yet."""

    def __init__(self, settings: Settings, sessions: Sessions, doors: Doors) -> None:
        self._settings = settings
        self._sessions = sessions
        self._doors = doors
        self._cookies = doors.cookies
        self._oidc = Oidc(settings, sessions) if settings.oidc.issuer else None

    def router(self) -> APIRouter:
        made = APIRouter(default_response_class=HTMLResponse)
        made.get("/sign-in")(self.page)
        made.post("/sign-in")(self.by_password)
        made.get("/sign-in/link/{link}")(self.link_page)
        made.post("/sign-in/link")(self.by_link)
        if self._oidc is not None:
            made.get("/sign-in/oidc")(self.to_provider)
            made.get(BACK)(self.from_provider)
        inside = APIRouter(
            dependencies=[Depends(self._doors.enter), Depends(self._doors.check_form)],
            default_response_class=HTMLResponse,
        )
        inside.get("/start")(self.start)
        inside.post("/sign-out")(self.sign_out)
        made.include_router(inside)
        return made

    def page(self, request: Request) -> HTMLResponse:
        return self._form(request, "sign_in.html")

    def link_page(self, request: Request, link: str) -> HTMLResponse:
        # Not at once: what only looks at links, as mail programs do, must not use it up.
        return self._form(request, "sign_in_link.html", link=link)

    def by_password(
        self,
        request: Request,
        name: Annotated[str, Form()],
        password: Annotated[str, Form()],
        token: Annotated[str, Form()] = "",
    ) -> Response:
        if not self._is_ours(request, token):
            return self._form(request, "sign_in.html", status=403, message=_("Load this page and try again."))
        address = address_of(request, self._settings.review)
        try:
            opened = entrance.by_password(self._sessions, self._settings.review, name, password, address)
        except SignInError as error:
            status = 429 if isinstance(error, TooManyTriesError) else 401
            return self._form(request, "sign_in.html", status=status, message=error.words)
        return self._let_in(opened)

    def by_link(
        self, request: Request, link: Annotated[str, Form()], token: Annotated[str, Form()] = ""
    ) -> Response:
        if not self._is_ours(request, token):
            return self._form(request, "sign_in_link.html", status=403, message=_("Try again."), link=link)
        try:
            opened = entrance.by_link(self._sessions, self._settings.review, link)
        except SignInError as error:
            return self._form(request, "sign_in.html", status=401, message=error.words)
        return self._let_in(opened)

    def to_provider(self, request: Request) -> Response:
        assert self._oidc is not None  # noqa: S101 (the route is there only then)
        browser = sign_ins.new_token()
        try:
            address = self._oidc.begin(browser)
        except SignInError as error:
            return self._form(request, "sign_in.html", status=502, message=error.words)
        answer = RedirectResponse(address, status_code=303)
        self._cookies.write(answer, PROVIDER, browser, lax=True)
        return answer

    def from_provider(self, request: Request, state: str = "", code: str = "") -> Response:
        assert self._oidc is not None  # noqa: S101 (as above)
        browser = self._cookies.read(request, PROVIDER)
        try:
            opened = self._oidc.finish(browser, state, code)
        except SignInError as error:
            failed = self._form(request, "sign_in.html", status=401, message=error.words)
            self._cookies.clear(failed, PROVIDER)
            return failed
        # A page and no redirect: the session's cookie does not come along on a way that began at another site.
        answer = HTMLResponse(render("signed_in.html", user=""))
        self._cookies.write(answer, SESSION, opened)
        self._cookies.clear(answer, PROVIDER)
        return answer

    def start(self, request: Request) -> RedirectResponse:
        """To the first page that this visitor may see."""
        for what, where in _HOMES:
            if request.state.visitor.may(what):
                return RedirectResponse(where, status_code=303)
        raise HTTPException(403, _("You have no role here. Ask an admin for one."))

    def sign_out(self, request: Request) -> RedirectResponse:
        visitor = request.state.visitor
        entrance.leave(self._sessions, visitor.pseudonym, visitor.session_id)
        answer = RedirectResponse("/sign-in", status_code=303)
        self._cookies.clear(answer, SESSION)
        return answer

    def _let_in(self, opened: str) -> RedirectResponse:
        answer = RedirectResponse("/start", status_code=303)
        self._cookies.write(answer, SESSION, opened)
        self._cookies.clear(answer, DOOR)
        return answer

    def _is_ours(self, request: Request, token: str) -> bool:
        door = self._cookies.read(request, DOOR)
        return bool(door) and sign_ins.good_form(token, door)

    def _form(
        self, request: Request, template: str, *, status: int = 200, message: str = "", link: str = ""
    ) -> HTMLResponse:
        door = self._cookies.read(request, DOOR) or sign_ins.new_token()
        with self._sessions() as session:
            anybody = session.scalar(select(Person.id).limit(1)) is not None
        page = render(
            template,
            user="",
            token=sign_ins.form_token(door),
            link=link,
            message=message,
            anybody=anybody,
            provider=bool(self._settings.oidc.issuer),
        )
        answer = HTMLResponse(page, status_code=status)
        self._cookies.write(answer, DOOR, door)
        return answer
