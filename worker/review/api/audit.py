"""The audit log: read, verified, and exported so that a stranger can verify it offline."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from fastapi.responses import StreamingResponse
from pydantic import Field, StringConstraints
from sqlalchemy.orm import Session

from config.database import Sessions
from worker.review import audit
from worker.review.api.bearer import Caller, Needs
from worker.review.api.values import LARGEST_ID, Cursor, Limit, NextCursor, Strict
from worker.review.audit_verify import Head
from worker.review.minors.restricted import restricted
from worker.review.people.permissions import May
from worker.store.audit_log import AuditEntry

_Hash = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class HeadAnswer(Strict):
    """The newest entry; 0 and 64 zeros are that of an empty log."""

    seq: Annotated[int, Field(strict=True, ge=0, le=LARGEST_ID)]
    hash: _Hash = Field(description="SHA-256 of the entry, in hex.")


class EntryAnswer(Strict):
    """One entry as it is hashed, unless it is restricted."""

    seq: int
    at: datetime
    actor: str = Field(description="A pseudonym; `operator:` or `service:` and a name; or nobody.")
    restricted: bool = Field(
        description="It tells of a suspected minor, or what was said on a review that waits for a blind second "
        "verdict, which the caller may not see: all that follows is empty."
    )
    action: str
    subject_kind: str
    subject_id: str
    details: dict[str, str | int | bool | list[str] | None]
    previous: str
    hash: str


class AuditList(Strict):
    entries: list[EntryAnswer] = Field(description="The newest first.")
    next_cursor: NextCursor
    head: HeadAnswer


class VerifyRequest(Strict):
    heads: list[HeadAnswer] = Field([], max_length=100, description="Heads noted down earlier.")


class FaultAnswer(Strict):
    seq: int
    why: str


class VerifyAnswer(Strict):
    entries: int = Field(description="Entries that are unchanged, counted from the first one.")
    head: HeadAnswer = Field(description="The last of them: note it down somewhere else.")
    fault: FaultAnswer | None = Field(
        description="The first entry that is not as it was written; null: none."
    )


class AuditOperations:
    """The operations on the audit log."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def router(self) -> APIRouter:
        made = APIRouter(tags=["audit"])
        sees = [Depends(Needs(May.SEE_AUDIT))]
        made.get("/audit", dependencies=sees)(self.entries)
        made.post("/audit/verify", dependencies=sees)(self.verify)
        made.get(
            "/audit/export",
            dependencies=sees,
            response_class=_Lines,
            responses={200: {"description": "One entry a line as JSON, then the head; see the audit page."}},
        )(self.export)
        return made

    def entries(self, caller: Caller, limit: Limit = 50, cursor: Cursor = None) -> AuditList:
        """What was done, the newest first."""
        with self._sessions() as session:
            found = audit.newest(session, limit, before=cursor)
            hides = restricted(session, caller.may)
            head = audit.head_of(session)
        return AuditList(
            entries=[_entry(entry, hidden=hides(entry)) for entry in found],
            next_cursor=found[-1].seq if len(found) == limit else None,
            head=HeadAnswer(seq=head.seq, hash=head.hash),
        )

    def verify(self, request: VerifyRequest) -> VerifyAnswer:
        """Walk the whole chain, and name the first entry that was changed, removed or put in between."""
        noted = [Head(each.seq, each.hash) for each in request.heads]
        with self._sessions() as session:
            head, fault, _ = audit.verify_log(session, noted)
        return VerifyAnswer(
            entries=head.seq,
            head=HeadAnswer(seq=head.seq, hash=head.hash),
            fault=FaultAnswer(seq=fault.seq, why=fault.why) if fault is not None else None,
        )

    def export(self, caller: Caller) -> StreamingResponse:
        """The whole log; the export is an entry itself.

        As `hashwarden audit export` writes it, but for the entries that the caller may not see: those are links of the
        chain alone, `{"seq", "previous", "hash", "restricted": true}`.
        """
        with self._sessions.begin() as session:
            audit.record(session, actor=caller.pseudonym, action="export")
        return _Lines(self._lines(partial(restricted, may=caller.may)))

    def _lines(self, hiding: Callable[[Session], audit.Hides]) -> Iterator[Any]:
        with self._sessions() as session:
            yield from audit.exported(session, hiding)


def _entry(entry: AuditEntry, *, hidden: bool) -> EntryAnswer:
    written = audit.as_written(entry)
    if hidden:
        told = {name: written[name] for name in ("seq", "at", "actor")}
        written = dict.fromkeys(written, "") | {"details": {}} | told
    return EntryAnswer(**written, restricted=hidden)


class _Lines(StreamingResponse):
    media_type = "application/x-ndjson"
