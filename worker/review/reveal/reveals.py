"""The reveal ladder: what a reviewer may see of a content, read from the storage and rendered in the sandbox.

Nothing of the picture is kept here, and none is sent before the ledger has the look.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import ClassVar

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from config.database import Sessions
from config.errors import HashwardenError
from config.settings import Settings
from config.words import _
from worker.act import PURGING
from worker.domain import PURGED, Kind, Lane, State, Verdict
from worker.errors import ObjectGone, ObjectSuperseded, SandboxError, StorageError, StorageRefused
from worker.fetch import WrongLane, fetch
from worker.media.limits import Reason
from worker.media.media import Media
from worker.media.rungs import MOST_STILLS, Cut, Rung, Showing, Shown
from worker.media.sandbox import MediaViewer
from worker.review import audit
from worker.review.names import name_of
from worker.review.people.people import Visitor
from worker.review.people.permissions import May
from worker.review.reveal.access import Need, Purpose, need_of
from worker.review.reveal.addresses import Asked, NotYours, UsedUp, close_view, new_address, use_address
from worker.review.reveal.exposure import Exposure, exposure_of
from worker.review.reveal.sheet import sheet
from worker.review.reveal.watermark import text_of
from worker.storage.protocol import ObjectStore, Receipt
from worker.store.models import Content, MatchRow, Review, Upload
from worker.store.views import RevealAddress, View

_CELL = re.compile(r"cell-([1-9])")
_MATCH = re.compile(r"match-([1-9]\d{0,18})")
_COPIES_TRIED = 3
_ELSEWHERE = frozenset({State.GONE, State.SUPERSEDED})
_NEAR = 0.5
"""Seconds within which two stills would show the same."""


_ASKED = {
    Need.CLAIM: _("A picture is shown to who has the review in hand."),
    Need.PURPOSE: _("A picture of a review that you have not in hand is shown for a stated reason."),
}
_NEXT = {Need.CLAIM: _("Take the review first."), Need.PURPOSE: _("Choose why you look, and ask again.")}


class RevealError(HashwardenError):
    """A picture that is not shown, and why; `status` is that of the answer."""

    code: ClassVar[str] = "reveal"

    def __init__(self, status: int, message: str, *, next_step: str = "") -> None:
        super().__init__(message, next_step=next_step)
        self.status = status


class WithheldError(RevealError):
    """A minor may be shown: nobody sees a picture."""

    def __init__(self) -> None:
        super().__init__(403, _("A minor may be shown here: no picture is shown at any rung."))


@dataclass(frozen=True, slots=True)
class Picture:
    """A PNG of `width` x `height` pixels. `shape`: the sides of what it stands for, by which a mosaic is stretched."""

    png: bytes
    width: int
    height: int
    shape: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Panel:
    """What a review's page offers. `withheld`: no picture at any rung."""

    withheld: bool
    matched: tuple[str, ...]
    """Regions of matches, the nearest first."""
    exposure: Exposure
    needs: Need
    """What this person has to have, or to say, before a picture is shown."""


@dataclass(frozen=True, slots=True)
class _Subject:
    """What is needed to render one look: the content, what to ask of the sandbox, and where its bytes may lie."""

    content_id: int
    sha256: bytes | None
    showing: Showing
    copies: tuple[Upload, ...]


class Reveals:
    """Asks, shows and closes looks. Thread-safe; `films` is a sandbox of its own, so no picture waits for a video."""

    def __init__(
        self,
        settings: Settings,
        sessions: Sessions,
        store: ObjectStore,
        pictures: MediaViewer,
        films: MediaViewer,
    ) -> None:
        self._settings = settings
        self._sessions = sessions
        self._store = store
        self._pictures = pictures
        self._films = films
        # A longer object is not read to its end for its digest: it can't be shown.
        self._media = settings.media.model_copy(update={"digest_bytes": settings.media.spool_bytes})

    def panel(self, visitor: Visitor, review_id: int) -> Panel:
        """What this review, which must be there, offers this person."""
        with self._sessions() as session:
            review = session.get_one(Review, review_id)
            found = session.scalars(
                select(MatchRow)
                .where(MatchRow.content_id == review.content_id, MatchRow.region.is_not(None))
                .order_by(MatchRow.distance, MatchRow.id)
            )
            regions: dict[tuple[float, ...], str] = {}
            for match in found:
                regions.setdefault(tuple(round(side, 2) for side in match.region or ()), f"match-{match.id}")
            return Panel(
                withheld=_is_withheld(review),
                matched=tuple(regions.values())[:3],
                exposure=exposure_of(session, visitor.pseudonym, self._settings.exposure),
                needs=need_of(session, visitor, review),
            )

    def exposure(self, actor: str) -> tuple[Exposure, float]:
        """What this person has looked at, and the seconds without a look that make a break."""
        with self._sessions() as session:
            return exposure_of(session, actor, self._settings.exposure), self._settings.exposure.cool_down

    def ask(
        self, visitor: Visitor, review_id: int, rung: Rung, region: str, purpose: Purpose | None = None
    ) -> str:
        """The token of a single-use address for one look; of a review that this person has in hand, or for a purpose.

        Raises RevealError.
        """
        actor = visitor.pseudonym
        if rung is Rung.FACTS or (rung is Rung.PEEK) is not bool(region):
            raise RevealError(400, _("That is no rung of the ladder."), next_step=_("Load the page again."))
        with self._sessions.begin() as session:
            try:
                review = self._allowed(session, actor, review_id, rung)
            except WithheldError:
                if visitor.may(May.SEE_MINORS):
                    raise
                # Who may not see it is not told that it is there.
                raise RevealError(404, _("There is no review %(review)s.", review=review_id)) from None
            needs = need_of(session, visitor, review)
            if needs is Need.CLAIM or (needs is Need.PURPOSE and purpose is None):
                raise RevealError(403, _ASKED[needs], next_step=_NEXT[needs])
            _cut(session, review.content_id, region)
            why = purpose if needs is Need.PURPOSE and purpose is not None else ""
            return new_address(session, actor, review_id, rung, region, why)

    def picture(self, actor: str, token: str) -> Picture:
        """The picture of an address, once. The look is in the ledger when this returns. Raises RevealError."""
        try:
            with self._sessions.begin() as session:
                asked = use_address(session, token, actor)
        except UsedUp:
            raise RevealError(
                410,
                _("This address was used already or is too old."),
                next_step=_("Ask for the picture again."),
            ) from None
        except NotYours:
            raise RevealError(403, _("This address was given to somebody else.")) from None
        with self._sessions() as session:
            review = self._allowed(session, actor, asked.review_id, asked.rung)
            subject = self._subject(session, review.content_id, asked)
        shown = self._render(subject)
        if not shown.rasters:
            raise RevealError(
                422,
                _("This upload can't be shown (%(reason)s).", reason=name_of(shown.reason)),
                next_step=_("Decide by the facts, or look at the object on your platform."),
            )
        moment = datetime.now(UTC)
        encoded, width, height = sheet(shown.rasters, asked.rung, text_of(actor, moment))
        self._record(actor, asked, subject.content_id, len(shown.rasters))
        several = len(shown.rasters) > 1
        shape = (width, height) if several or asked.rung is Rung.PEEK else (shown.width, shown.height)
        return Picture(encoded, width, height, shape)

    def covered(self, actor: str, token: str, seconds: float) -> None:
        """Closes a look: it was shown for so long. Told twice or of no look it changes nothing."""
        with self._sessions.begin() as session:
            close_view(session, token, actor, max(0.0, seconds))

    def _allowed(self, session: Session, actor: str, review_id: int, rung: Rung) -> Review:
        review = session.get(Review, review_id)
        if review is None:
            raise RevealError(404, _("There is no review %(review)s.", review=review_id))
        if _is_withheld(review):
            raise WithheldError
        if rung > Rung.MOSAIC:
            exposure = exposure_of(session, actor, self._settings.exposure)
            if exposure.until is not None:
                until = exposure.until.astimezone(UTC)
                raise RevealError(
                    429,
                    _(
                        "You have looked enough for now: only the mosaic is shown until %(time)s UTC.",
                        time=f"{until:%Y-%m-%d %H:%M}",
                    ),
                    next_step=_("Take a break, or hand the review to a colleague."),
                )
        return review

    def _subject(self, session: Session, content_id: int, asked: Asked) -> _Subject:
        content = session.get_one(Content, content_id)
        cut, seconds = _cut(session, content_id, asked.region)
        if not seconds:
            times = session.scalars(
                select(MatchRow.frame_time)
                .where(MatchRow.content_id == content_id, MatchRow.frame_time.is_not(None))
                .order_by(MatchRow.distance, MatchRow.id)
            )
            seconds = tuple(time for time in times if time is not None)
        copies = session.scalars(
            select(Upload)
            .where(
                Upload.content_id == content_id,
                Upload.state.not_in(_ELSEWHERE),
                Upload.access_applied.not_in({PURGED, PURGING}),
                Upload.deleted_at.is_(None),
            )
            .order_by(Upload.id.desc())
            .limit(_COPIES_TRIED)
        ).all()
        session.expunge_all()
        return _Subject(content_id, content.sha256, Showing(asked.rung, cut, moments(seconds)), tuple(copies))

    def _render(self, subject: _Subject) -> Shown:
        try:
            for media in self._bytes_of(subject):
                if media is None:
                    return Shown(reason=Reason.FILE_SIZE_LIMIT)
                viewer = self._films if media.format().kind is Kind.VIDEO else self._pictures
                return viewer.show(media, subject.showing)
        except (StorageError, StorageRefused, SandboxError) as fault:
            raise RevealError(
                503,
                _("The object store or the sandbox does not answer as it should."),
                next_step=_("Try again in a moment."),
            ) from fault
        raise RevealError(404, _("The bytes of this upload are no more."))

    def _bytes_of(self, subject: _Subject) -> Iterator[Media | None]:
        """The bytes of the first copy that is still there and is what was decided about; None where it is too long."""
        for upload in subject.copies:
            receipt = Receipt.from_json(upload.receipt) if upload.receipt else None
            lanes = [Lane(upload.lane)]
            while lanes:
                try:
                    with fetch(self._store, upload.ref, lanes.pop(), self._media, receipt) as fetched:
                        if fetched.media is None:
                            yield None
                        elif subject.sha256 in {None, fetched.sha256}:
                            yield fetched.media
                except WrongLane as wrong:
                    lanes.append(wrong.lane)
                except (ObjectGone, ObjectSuperseded):
                    continue

    def _record(self, actor: str, asked: Asked, content_id: int, stills: int) -> None:
        with self._sessions.begin() as session:
            # Decided meanwhile, perhaps: what must not be seen is not sent, however far it has come.
            review = session.get_one(Review, asked.review_id, with_for_update={"read": True})
            if _is_withheld(review):
                raise WithheldError
            view = View(
                actor=actor,
                review_id=asked.review_id,
                content_id=content_id,
                rung=asked.rung,
                region=asked.region,
                stills=stills,
            )
            session.add(view)
            session.flush()
            session.execute(
                update(RevealAddress).where(RevealAddress.digest == asked.digest).values(view_id=view.id)
            )
            audit.record(
                session,
                actor=actor,
                action="reveal",
                subject=("review", asked.review_id),
                details={
                    "view": view.id,
                    "rung": asked.rung.name.lower(),
                    "region": asked.region,
                    "stills": stills,
                    **({"purpose": asked.purpose} if asked.purpose else {}),
                },
            )


def moments(matched: Sequence[float]) -> tuple[float, ...]:
    """Seconds of a video to show: those that matched, nearest match first, then those around each of them."""
    chosen: list[float] = []
    for step in (0, 1, -1, 2, -2, 3, -3, 4, -4, 5, -5, 6):
        for second in matched:
            around = second + step
            if around >= 0 and all(abs(around - other) >= _NEAR for other in chosen):
                chosen.append(around)
            if len(chosen) == MOST_STILLS:
                return tuple(chosen)
    return tuple(chosen)


def _is_withheld(review: Review) -> bool:
    return review.verdict == Verdict.SUSPECTED_MINOR


def _cut(session: Session, content_id: int, region: str) -> tuple[Cut | None, tuple[float, ...]]:
    """What a region's name stands for, and the second at which a match found it."""
    if not region:
        return None, ()
    cell = _CELL.fullmatch(region)
    if cell:
        down, across = divmod(int(cell[1]) - 1, 3)
        return Cut((across / 3, down / 3, 1 / 3, 1 / 3), upright=True), ()
    named = _MATCH.fullmatch(region)
    match = session.get(MatchRow, int(named[1])) if named else None
    if match is None or match.content_id != content_id or match.region is None:
        raise RevealError(400, _("That is no region of this upload."), next_step=_("Load the page again."))
    left, top, width, height = match.region
    seconds = () if match.frame_time is None else (match.frame_time,)
    return Cut((left, top, width, height), upright=False), seconds
