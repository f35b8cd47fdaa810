"""The routes of the reveal ladder: ask for an address, get the picture once, tell for how long it was shown."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Form, HTTPException, Request, Response
from fastapi import Path as InPath
from fastapi.responses import HTMLResponse, JSONResponse

from config.words import _
from worker.media.rungs import Rung
from worker.review.languages import spoken
from worker.review.pages.doors import SCRIPT_POLICY, Asks, Doors, of_visitor
from worker.review.pages.rendering import render
from worker.review.people.permissions import May
from worker.review.reveal.access import Purpose
from worker.review.reveal.exposure import SHOWN_SECONDS
from worker.review.reveal.reveals import RevealError, Reveals

_Number = Annotated[int, InPath(ge=1, lt=2**63)]
_SHOWN_BY = frozenset({"empty", "image"})
"""What a browser says of a request by a script and by an image."""

_Token = Annotated[str, InPath(min_length=20, max_length=100)]


class RevealPages:
    """The routes; each is behind the doors, which leave in the request's state who it is, and asks for a role."""

    def __init__(self, reveals: Reveals, doors: Doors) -> None:
        self._reveals = reveals
        self._doors = doors

    def router(self) -> APIRouter:
        looks = [Depends(Asks(May.REVEAL))]
        made = APIRouter(dependencies=[Depends(self._doors.enter), Depends(self._doors.check_form)])
        made.post("/reviews/{review_id}/reveal", dependencies=looks)(self.ask)
        made.get("/reveal/{address}", dependencies=looks)(self.picture)
        made.post("/reveal/{address}/covered", dependencies=looks)(self.covered)
        made.get("/break", dependencies=looks)(self.rest)
        return made

    def ask(
        self,
        request: Request,
        review_id: _Number,
        rung: Annotated[Rung, Form()],
        region: Annotated[str, Form(max_length=40)] = "",
        purpose: Annotated[Purpose | None, Form()] = None,
    ) -> Response:
        """A script is told the address; a form without one gets a page that shows it, of the lowest two rungs only."""
        visitor = request.state.visitor
        scripted = request.headers.get("accept", "") == "application/json"
        try:
            if not scripted and rung > Rung.GREY:
                raise RevealError(400, _("This rung is shown only while a button is held, by a script."))
            address = f"/reveal/{self._reveals.ask(visitor, review_id, rung, region, purpose)}"
        except RevealError as error:
            if not scripted:
                raise HTTPException(error.status, error.words) from None
            return _problem(error)
        if scripted:
            return JSONResponse({"address": address, "seconds": SHOWN_SECONDS[rung]})
        page = render(
            "shown.html", **of_visitor(request), review_id=review_id, address=address, rung=rung.name
        )
        return HTMLResponse(page, headers={"Content-Security-Policy": SCRIPT_POLICY})

    def picture(self, request: Request, address: _Token) -> Response:
        """The picture, once, for a page of ours; not for a tab of its own, where nothing would cover it."""
        try:
            if request.headers.get("sec-fetch-dest", "empty") not in _SHOWN_BY:
                raise RevealError(403, _("A picture is shown on its review's page alone."))
            picture = self._reveals.picture(request.state.user, address)
        except RevealError as error:
            return _problem(error)
        return Response(
            picture.png,
            media_type="image/png",
            headers={
                "Content-Disposition": "inline",
                "Hashwarden-Shape": f"{picture.shape[0]} {picture.shape[1]}",
            },
        )

    def covered(
        self, request: Request, address: _Token, seconds: Annotated[float, Form(ge=0, le=86_400)]
    ) -> Response:
        self._reveals.covered(request.state.user, address, seconds)
        return Response(status_code=204)

    def rest(self, request: Request) -> HTMLResponse:
        exposure, cool_down = self._reveals.exposure(request.state.user)
        return HTMLResponse(
            render("break.html", **of_visitor(request), exposure=exposure, cool_down=cool_down)
        )


def _problem(error: RevealError) -> Response:
    return JSONResponse({"problem": spoken().say(error.words)}, status_code=error.status)
