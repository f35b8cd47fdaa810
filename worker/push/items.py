"""An upload that the platform pushes by reference: bucket, key and version, and no address to fetch anything from.

An object version is its own idempotency key: pushed twice it is one item, and both pushes are answered alike. What else
a platform's outbox writes, a key of its own and a time, may be sent and goes no further.
"""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy import select
from sqlalchemy.orm import Session

from config.database import Sessions
from worker.domain import EventKind, ObjectRef, State, UploadEvent
from worker.errors import ObjectGone, ObjectSuperseded
from worker.events.arrivals import any_of
from worker.events.inbox import Inbox
from worker.events.parse import storable
from worker.push.faults import InvalidError, NotScannedError, NotThereError
from worker.storage.protocol import ObjectStore
from worker.store.models import Upload

SOURCE = "push"
LARGEST_ID = 2**63 - 1


class Pushed(BaseModel):
    """What the platform sends."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    bucket: str = Field(min_length=1)
    key: str = Field(min_length=1)
    version_id: str = ""
    etag: str = ""
    idempotency_key: str = Field("", max_length=255)
    created_at: AwareDatetime | None = None

    @property
    def ref(self) -> ObjectRef:
        version_id = "" if self.version_id == "null" else self.version_id
        return ObjectRef(self.bucket, self.key, version_id, self.etag.strip('"'))


@dataclass(frozen=True, slots=True)
class Item:
    """An upload as the platform sees it."""

    upload_id: int
    bucket: str
    key: str
    version_id: str
    state: State


def read(body: bytes) -> ObjectRef:
    """The object that a body names. Raises InvalidError naming the field, never its value."""
    try:
        ref = Pushed.model_validate_json(body).ref
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "body"
        raise InvalidError(
            f"The field {where[:60]!a} is not usable: {first['msg']}."
            if first["loc"]
            else "The body is no JSON object.",
            next_step="Send bucket and key, and version_id or etag if you know them.",
        ) from None
    if not storable(ref):
        raise InvalidError(
            "Bucket, key, version_id or etag is no name that a store can have.",
            next_step="Send the key as the store has it, in UTF-8 and not URL-encoded.",
        )
    return ref


class Items:
    """Thread-safe: it holds no state but its parts."""

    def __init__(self, sessions: Sessions, store: ObjectStore, inbox: Inbox) -> None:
        self._sessions = sessions
        self._store = store
        self._inbox = inbox

    def take(self, ref: ObjectRef) -> Item:
        """Makes the version an upload, or finds it; committed when this returns.

        Without a version id the version that is current now is meant. Raises NotScannedError, ObjectGone,
        ObjectSuperseded when the key holds another etag, the storage errors and SQLAlchemy's.
        """
        if not self._inbox.wants(ref):
            raise NotScannedError(
                "The bucket is none of those that are scanned, or the key is one of `hashwarden doctor`.",
                next_step="Add the bucket to storage.buckets, or push where the uploads lie.",
            )
        if not ref.version_id:
            try:
                ref = self._store.complete(ref)
            except ObjectGone:
                # It may be withheld: then it can't be seen by a HEAD, and it is known.
                return self._known(ref)
            except ObjectSuperseded:
                raise ObjectSuperseded(
                    "The key holds an object with another etag.",
                    next_step="Push the object that is there now, by its own etag or without one.",
                ) from None
        self._inbox.take([UploadEvent(EventKind.CREATED, ref)], SOURCE)
        with self._sessions() as session:
            return _item(session.scalars(select(Upload).where(any_of([ref]))).one())

    def one(self, upload_id: int) -> Item:
        """Raises NotThereError."""
        with self._sessions() as session:
            upload = session.get(Upload, upload_id) if upload_id <= LARGEST_ID else None
        if upload is None:
            raise NotThereError(f"There is no item {upload_id}.", next_step="Push it by POST /v1/items.")
        return _item(upload)

    def _known(self, ref: ObjectRef) -> Item:
        with self._sessions() as session:
            upload = _withheld(session, ref)
        if upload is None:
            raise ObjectGone(
                "The store has no such object.", next_step="Push an item once its upload is complete."
            )
        return _item(upload)


def _withheld(session: Session, ref: ObjectRef) -> Upload | None:
    query = select(Upload).where(
        Upload.bucket == ref.bucket, Upload.key == ref.key, Upload.access_wanted != "served"
    )
    if ref.etag:
        query = query.where(Upload.etag == ref.etag)
    return session.scalars(query.order_by(Upload.id.desc())).first()


def _item(upload: Upload) -> Item:
    return Item(upload.id, upload.bucket, upload.key, upload.version_id, State(upload.state))
