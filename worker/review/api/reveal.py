"""The reveal ladder: ask for an address, fetch the picture once, tell for how long it was shown.

The same ledger, limits and sandbox as the pages'; the picture carries the caller's pseudonym.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Response
from pydantic import Field, StringConstraints

from worker.media.rungs import Rung
from worker.review.api.bearer import Caller, Needs
from worker.review.api.values import Number, Responses, Stored, Strict
from worker.review.people.permissions import May
from worker.review.reveal.access import Purpose
from worker.review.reveal.exposure import SHOWN_SECONDS
from worker.review.reveal.reveals import RevealError, Reveals

_Token = Annotated[str, Path(min_length=20, max_length=100)]


class RungName(StrEnum):
    """How much is shown; each shows more than the one before."""

    MOSAIC = "mosaic"
    GREY = "grey"
    PEEK = "peek"
    WHOLE = "whole"


class RevealRequest(Strict):
    rung: RungName
    region: Annotated[str, StringConstraints(max_length=40), Stored] = Field(
        "",
        description="With peek alone: cell-1 to cell-9, a ninth of the picture, or one of the review's `regions`.",
    )
    purpose: Purpose | None = Field(
        None,
        description=(
            "Why the caller looks who has the review not in hand: advice (a colleague asked), quality (how it was "
            "decided is looked at again), request (somebody concerned, a court or an authority asks), or incident."
        ),
    )


class RevealAnswer(Strict):
    address: str = Field(description="For GET /reveal/{address}: once, by the same person, for 30 s.")
    seconds: float = Field(description="Cover the picture again after so many seconds.")


class CoveredRequest(Strict):
    seconds: Annotated[float, Field(strict=True, ge=0, le=86_400, allow_inf_nan=False)] = Field(
        description="For how long it was shown."
    )


class ExposureAnswer(Strict):
    """What the caller has looked at: sharp pictures, that is peek and whole."""

    hour_looks: int = Field(description="In the last hour, since the last break.")
    hour_seconds: float = Field(description="Seconds that they lasted.")
    week_looks: int = Field(description="In the last seven days.")
    week_seconds: float = Field(description="Seconds that they lasted.")
    due: bool = Field(description="A break is due.")
    until: datetime | None = Field(description="Only the mosaic is shown before then; null: all rungs.")


class RevealOperations:
    """The operations on pictures; without `reveals` none is shown."""

    def __init__(self, reveals: Reveals | None) -> None:
        self._reveals = reveals

    def router(self) -> APIRouter:
        looks = [Depends(Needs(May.REVEAL))]
        absent: Responses = {
            404: {"description": "There is no such review or picture, or pictures are not shown here."}
        }
        made = APIRouter(tags=["reveal"])
        made.post(
            "/reviews/{review_id}/reveal",
            dependencies=looks,
            responses={
                **absent,
                400: {"description": "There is no such rung, or no such region of this picture."},
                403: {
                    "description": (
                        "The roles do not allow it, a minor may be shown, or the review is not in hand: `detail` says "
                        "whether it must be, or whether a purpose is enough. `reveal_needs` of the review tells before."
                    )
                },
            },
        )(self.ask)
        made.get(
            "/reveal/{address}",
            dependencies=looks,
            response_class=Png,
            responses={
                **absent,
                200: {"description": "The picture. `Hashwarden-Shape`: the sides that it stands for."},
                410: {"description": "The address was used already, or is too old."},
                503: {"description": "The storage, the sandbox or the database failed for the moment."},
            },
        )(self.picture)
        made.post("/reveal/{address}/covered", dependencies=looks, responses=absent, status_code=204)(
            self.covered
        )
        made.get("/exposure", dependencies=looks, responses=absent)(self.exposure)
        return made

    def _shown(self) -> Reveals:
        if self._reveals is None:
            raise RevealError(404, "No pictures are shown here.", next_step="Look on your platform.")
        return self._reveals

    def ask(self, caller: Caller, review_id: Number, request: RevealRequest) -> RevealAnswer:
        """Ask for the address of one look."""
        rung = Rung[request.rung.name]
        address = self._shown().ask(caller, review_id, rung, request.region, request.purpose)
        return RevealAnswer(address=address, seconds=SHOWN_SECONDS[rung])

    def picture(self, caller: Caller, address: _Token) -> Response:
        """Fetch the picture. The look is in the ledger before the first byte leaves."""
        picture = self._shown().picture(caller.pseudonym, address)
        return Png(picture.png, headers={"Hashwarden-Shape": f"{picture.shape[0]} {picture.shape[1]}"})

    def covered(self, caller: Caller, address: _Token, request: CoveredRequest) -> None:
        """Tell for how long a picture was shown; else a look counts as the longest there is."""
        self._shown().covered(caller.pseudonym, address, request.seconds)

    def exposure(self, caller: Caller) -> ExposureAnswer:
        """How much the caller has looked at."""
        return ExposureAnswer.model_validate(self._shown().exposure(caller.pseudonym)[0])


class Png(Response):
    media_type = "image/png"
