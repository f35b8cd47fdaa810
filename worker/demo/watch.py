"""Reads what became of the demonstration's uploads: from the database, and by a plain GET as any visitor would."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import httpx
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from bank_sync.bank import OWN_BANK, BankEntry
from config.database import Sessions
from worker.domain import State
from worker.media.views import WORDS
from worker.store.models import MatchRow, Review, Upload

_UNDER_WAY = frozenset({State.PENDING, State.SCANNING})


@dataclass(frozen=True, slots=True)
class FoundMatch:
    """One match in words. `case` is the demonstration's number of the case behind the entry, 0 for the own bank's."""

    bank: str
    case: int
    distance: int
    view: str
    frame_time: float | None
    same_file: bool

    @property
    def words(self) -> str:
        who = "own bank" if self.bank == OWN_BANK else f"case {self.case}"
        if self.same_file:
            return f"{who}, the same file"
        parts = [who, f"{self.distance} bits"]
        if self.view:
            parts.append(WORDS[self.view])
        if self.frame_time is not None:
            parts.append(f"at {self.frame_time:.1f} s")
        return ", ".join(parts)


@dataclass(frozen=True, slots=True)
class Seen:
    """What the database says of one upload.

    `milliseconds` lie between the start of its put and its state; None for one that nobody waited for.
    """

    upload_id: int
    version_id: str
    state: State
    reason: str
    source: str
    settled: bool
    """Its state is final for now, and what the state means for the object was made to hold."""
    applied: str
    milliseconds: float | None
    matches: tuple[FoundMatch, ...]
    review_id: int | None
    review_open: bool


class Watcher:
    """Looks at the uploads of one bucket."""

    def __init__(self, sessions: Sessions, bucket: str) -> None:
        self._sessions = sessions
        self._bucket = bucket
        self._cases: dict[str, int] = {}
        self.put_at: dict[str, float] = {}
        """By key: when its put began, as seconds since the epoch."""

    def know_case(self, case_number: str, number: int) -> None:
        self._cases[case_number] = number

    def look(self, keys: Collection[str]) -> dict[str, Seen]:
        """The uploads of these keys that have a row, each by its newest version."""
        with self._sessions() as session:
            rows = session.execute(
                select(Upload, Review.id, Review.state)
                .outerjoin(Review, Review.content_id == Upload.content_id)
                .where(Upload.bucket == self._bucket, Upload.key.in_(keys))
                .order_by(Upload.id)
            ).all()
            matches = self._matches(
                session, {upload.content_id for upload, _, _ in rows if upload.content_id}
            )
        return {
            upload.key: Seen(
                upload_id=upload.id,
                version_id=upload.version_id,
                state=State(upload.state),
                reason=upload.reason,
                source=upload.source,
                settled=State(upload.state) not in _UNDER_WAY and upload.access_due_at is None,
                applied=upload.access_applied,
                milliseconds=self._milliseconds(upload),
                matches=matches.get(upload.content_id or 0, ()),
                review_id=review_id,
                review_open=review_state == "open",
            )
            for upload, review_id, review_state in rows
        }

    def _milliseconds(self, upload: Upload) -> float | None:
        put_at = self.put_at.get(upload.key)
        return None if put_at is None else 1000 * (upload.state_since.timestamp() - put_at)

    def _matches(self, session: Session, contents: Collection[int]) -> dict[int, tuple[FoundMatch, ...]]:
        found: dict[int, tuple[FoundMatch, ...]] = {}
        rows = session.execute(
            select(MatchRow, BankEntry.case_numbers)
            .join(BankEntry, BankEntry.id == MatchRow.entry_id)
            .where(MatchRow.content_id.in_(contents))
            .order_by(MatchRow.distance, MatchRow.id)
        )
        for match, cases in rows:
            number = next((self._cases[case] for case in cases if case in self._cases), 0)
            words = FoundMatch(
                match.bank,
                number,
                match.distance,
                match.view,
                match.frame_time,
                same_file=match.signal_type == "video_md5",
            )
            found[match.content_id] = (*found.get(match.content_id, ()), words)
        return found

    def counts(self) -> dict[str, int]:
        """How many uploads are in each state now."""
        with self._sessions() as session:
            rows = session.execute(select(Upload.state, func.count()).group_by(Upload.state))
            return {State(state).value: number for state, number in rows}


class Visitor:
    """Somebody who looks at the platform's pictures: plain GETs without any key."""

    def __init__(self, endpoint: str, bucket: str) -> None:
        self._http = httpx.Client(base_url=f"{endpoint}/{bucket}/", timeout=10)

    def close(self) -> None:
        self._http.close()

    def get(self, key: str) -> tuple[int, bytes]:
        """HTTP status and body."""
        answer = self._http.get(key)
        return answer.status_code, answer.content

    def denied(self, keys: Collection[str]) -> list[str]:
        """Those of the keys whose GET does not give the object."""
        return [key for key in keys if self.get(key)[0] in {403, 404}]

    def served(self, bodies: Mapping[str, bytes]) -> list[str]:
        """Those of the keys whose GET gives exactly these bytes."""
        return [key for key, body in bodies.items() if self.get(key) == (200, body)]
