"""A rig for the whole way of an upload in one process: real store, database, index and sandbox."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image, ImageFilter
from sqlalchemy import func, select, update

from bank_sync.bank import BankRecord, upsert
from bank_sync.epoch import publish
from config.policy import BankSettings, PolicySettings
from config.settings import Settings
from worker.domain import Lane, ObjectRef, State
from worker.media.media import memfd_from
from worker.pipeline import Stages, process
from worker.queue.parts import Parts
from worker.store.models import History, Upload

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def picture(seed: int, size: tuple[int, int] = (640, 480)) -> Image.Image:
    """A smooth random picture: its PDQ quality is high and two seeds are far apart."""
    noise = np.random.default_rng(seed).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC).filter(ImageFilter.GaussianBlur(2))


def jpeg(image: Image.Image, quality: int = 90) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality)
    return out.getvalue()


class Rig:
    """Puts objects, makes rows as an event source would, and runs the pipeline in this process."""

    picture = staticmethod(picture)
    jpeg = staticmethod(jpeg)

    def __init__(self, settings: Settings, s3: S3Client) -> None:
        self.settings = settings
        self.s3 = s3
        self.parts = Parts(settings)
        self.sessions = self.parts.sessions
        self.announced: list[tuple[int, Lane]] = []
        self.stages: Stages = self.parts.stages(self._announce)

    def _announce(self, uploads: Iterable[tuple[int, Lane]]) -> None:
        self.announced += uploads

    def close(self) -> None:
        self.parts.close()

    def with_policy(self, **policy: object) -> None:
        """Replaces settings of the policy for what runs next."""
        changed = PolicySettings.model_validate({**self.settings.policy.model_dump(), **policy})
        self.settings = self.settings.model_copy(update={"policy": changed})
        self.parts.settings = self.settings
        self.stages = self.parts.stages(self._announce)

    def hash_of(self, body: bytes) -> bytes:
        """PDQ of a body as it is, by the sandbox."""
        with memfd_from([body]) as media:
            return self.stages.sandbox.hash(media).originals[0].hash

    def bank_pdq(self, *hashes: bytes, bank: str = "stopncii", status: str = "Active") -> None:
        """Puts PDQ hashes into a bank and publishes the index."""
        self.bank_records([BankRecord("pdq", value, raw_status=status) for value in hashes], bank)

    def bank_records(self, records: list[BankRecord], bank: str = "stopncii") -> None:
        with self.sessions.begin() as session:
            upsert(session, bank, records)
        self.publish()

    def publish(self) -> int:
        with self.sessions.begin() as session:
            return publish(session, self.settings.epochs_dir)

    def put(self, bucket: str, key: str, body: bytes, lane: Lane = Lane.IMAGE) -> int:
        """Uploads an object and makes its row; returns the upload's id."""
        self.s3.put_object(
            Bucket=bucket, Key=key, Body=body, ContentType="image/jpeg", Metadata={"by": "ann"}
        )
        return self.row_for(bucket, key, lane)

    def row_for(self, bucket: str, key: str, lane: Lane = Lane.IMAGE) -> int:
        ref = self.stages.store.complete(ObjectRef(bucket, key))
        with self.sessions.begin() as session:
            upload = Upload(
                bucket=bucket,
                key=key,
                version_id=ref.version_id,
                etag=ref.etag,
                size=ref.size,
                last_modified=ref.last_modified,
                lane=lane,
            )
            session.add(upload)
            session.flush()
            return upload.id

    def process(self, upload_id: int) -> State:
        process(self.stages, upload_id)
        return State(self.row(upload_id).state)

    def scan(self, bucket: str, key: str, body: bytes) -> tuple[int, State]:
        """Uploads and processes at once."""
        upload_id = self.put(bucket, key, body)
        return upload_id, self.process(upload_id)

    def row(self, upload_id: int) -> Upload:
        with self.sessions() as session:
            return session.get_one(Upload, upload_id)

    def history(self, upload_id: int) -> list[str]:
        with self.sessions() as session:
            query = select(History.to_state).where(History.upload_id == upload_id).order_by(History.id)
            return list(session.scalars(query))

    def make_due(self, upload_id: int) -> None:
        """Moves every waiting time of a row into the past."""
        now = func.clock_timestamp()
        with self.sessions.begin() as session:
            session.execute(
                update(Upload)
                .where(Upload.id == upload_id)
                .values(next_attempt_at=now, lease_until=now, access_due_at=now)
            )
            session.execute(
                update(Upload)
                .where(Upload.id == upload_id, Upload.purge_at.is_not(None))
                .values(purge_at=now)
            )

    def get(self, bucket: str, key: str) -> bytes | None:
        """A plain GET, as the platform's readers do it; None where it is refused or missing."""
        try:
            return self.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        except self.s3.exceptions.ClientError:
            return None


@pytest.fixture
def rig(settings: Settings, s3: S3Client) -> Iterator[Rig]:
    banks = {**settings.banks, "stopncii": BankSettings(exchange="stopncii")}
    index = settings.index.model_copy(update={"poll_every": 0.001})
    made = Rig(settings.model_copy(update={"banks": banks, "index": index}), s3)
    yield made
    made.close()


@pytest.fixture
def environment(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The settings as HASHWARDEN_* variables, set for the test; the mapping is for child processes."""
    secret = settings.database.url.get_secret_value()
    keys = settings.storage
    assert keys.access_key is not None
    assert keys.secret_key is not None
    variables = {
        "HASHWARDEN_STATE_DIR": str(settings.state_dir),
        "HASHWARDEN_DATABASE__URL": secret,
        "HASHWARDEN_BROKER__URL": settings.broker.url.get_secret_value(),
        "HASHWARDEN_STORAGE__ENDPOINT_URL": keys.endpoint_url or "",
        "HASHWARDEN_STORAGE__REGION": keys.region,
        "HASHWARDEN_STORAGE__ACCESS_KEY": keys.access_key.get_secret_value(),
        "HASHWARDEN_STORAGE__SECRET_KEY": keys.secret_key.get_secret_value(),
        "HASHWARDEN_STORAGE__BUCKETS": json.dumps(keys.buckets),
        "HASHWARDEN_STORAGE__QUARANTINE_BUCKET": keys.quarantine_bucket,
        "HASHWARDEN_EVENTS__SQS_QUEUE_URL": settings.events.sqs_queue_url,
        "HASHWARDEN_EVENTS__SQS_ENDPOINT_URL": settings.events.sqs_endpoint_url or "",
        "HASHWARDEN_EVENTS__SQS_WAIT_SECONDS": "1",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return variables
