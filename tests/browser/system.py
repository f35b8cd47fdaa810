"""The console as it runs: embedded servers, the real sandbox, and uploads of the demonstration's photographs.

What a decision moves is made to hold in the storage at once, as a worker would do it.
"""

from __future__ import annotations

import io
import os
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import pytest
from PIL import Image
from sqlalchemy import func, select, update

from bank_sync.bank import BankCheckpoint
from config.settings import load_settings
from tests.integration.conftest import Rig
from tests.integration.console import Console
from worker.demo import media
from worker.demo.embedded import ACCESS_KEY, REGION, SECRET_KEY
from worker.domain import Lane
from worker.media.sandbox import ZygoteSandbox
from worker.pipeline import Stages, process
from worker.review.minors.cases import case_of
from worker.review.reveal.reveals import Reveals
from worker.store.desk import ClaimRow
from worker.store.models import Heartbeat, MatchRow, Review, Upload

if TYPE_CHECKING:
    from config.settings import Settings
    from worker.demo.embedded import Embedded

SECOND_OVER = 20
"""Distance over which two persons decide."""

SOFT_LOOKS, HARD_LOOKS = 2, 4
"""Sharp pictures after which a break is offered, and after which there is no more of them."""

_NAMES = sorted(path.stem for path in media.PHOTOS.glob("*.jpg"))
_PARTS = ((0.0, 0.0), (0.4, 0.4), (0.4, 0.0), (0.0, 0.4), (0.2, 0.2))


@dataclass(frozen=True, slots=True)
class Held:
    """An upload that matched, and its review."""

    review: int
    upload: int
    key: str
    body: bytes


class _Acting(Console):
    """A console whose decisions reach the storage before the answer is sent."""

    def __init__(self, settings: Settings, rig: Rig, ending: ExitStack, reveals: Reveals) -> None:
        self._stages: Stages = rig.stages
        self._acting = threading.Lock()
        super().__init__(settings, rig.sessions, ending, reveals)

    def _wake(self, moved: Sequence[tuple[int, Lane]]) -> None:
        with self._acting:
            for upload_id, _ in moved:
                process(self._stages, upload_id)


class System:
    """A database, a bucket and a console of its own on servers that run."""

    def __init__(
        self, embedded: Embedded, database: str, state_dir: Path, bucket: str, ending: ExitStack
    ) -> None:
        """`database` is the address of one with the current schema; all that is started ends with `ending`."""
        self.s3 = boto3.client(
            "s3",
            endpoint_url=embedded.s3_endpoint,
            region_name=REGION,
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
        )
        ending.callback(self.s3.close)
        self.bucket = bucket
        self.s3.create_bucket(Bucket=self.bucket)
        self.s3.put_bucket_versioning(Bucket=self.bucket, VersioningConfiguration={"Status": "Enabled"})
        settings = load_settings(
            state_dir=state_dir,
            database={"url": database},
            broker={"url": embedded.broker_url},
            storage={
                "endpoint_url": embedded.s3_endpoint,
                "region": REGION,
                "access_key": ACCESS_KEY,
                "secret_key": SECRET_KEY,
                "buckets": [self.bucket],
            },
            banks={"stopncii": {"exchange": "stopncii"}},
            policy={"second_review": {"distance": SECOND_OVER}},
            exposure={"soft_looks_hour": SOFT_LOOKS, "hard_looks_hour": HARD_LOOKS},
            index={"poll_every": 0.001},
        )
        self.rig = Rig(settings, self.s3)
        ending.callback(self.rig.close)
        self.sessions = self.rig.sessions
        sandbox = ending.enter_context(ZygoteSandbox())
        reveals = Reveals(settings, self.sessions, self.rig.parts.store, sandbox, sandbox)
        with self.sessions.begin() as session:
            # The services and the cron job beside the console are well: no alarm stands over the queue.
            session.add(Heartbeat(service="dispatch", host="host", pid=1))
            session.add(BankCheckpoint(bank="stopncii", next_start=0, drained_at=func.clock_timestamp()))
        self.console = _Acting(settings, self.rig, ending, reveals)
        self._scenes = (scene(number) for number in count())

    def held(
        self, *, distance: int = 4, bank: str = "stopncii", folder: str = "ann", copies: int = 1
    ) -> Held:
        """Another photograph that somebody uploads, `copies` times, and that matches at this distance in bits."""
        body = media.encoded(next(self._scenes))
        self.rig.bank_pdq(_apart(self.rig.hash_of(body), distance), bank=bank)
        return self.scanned(body, folder=folder, copies=copies)

    def scanned(self, body: bytes, *, folder: str, copies: int = 1, ending: str = "jpg") -> Held:
        """Uploads a body whose entry is in a bank already, and looks at it. Its review must open."""
        for _ in range(copies):
            key = f"{folder}/{uuid.uuid4().hex[:8]}.{ending}"
            lane = Lane.VIDEO if ending == "mp4" else Lane.IMAGE
            upload = self.rig.put(self.bucket, key, body, lane)
            self.rig.process(upload)
        with self.sessions() as session:
            query = select(Review.id).join(Upload, Upload.content_id == Review.content_id)
            return Held(session.scalars(query.where(Upload.id == upload)).one(), upload, key, body)

    def near(self, held: Held) -> Held:
        """Another content that matches what `held` matched: the same picture, saved once more."""
        with Image.open(io.BytesIO(held.body)) as picture:
            return self.scanned(media.encoded(picture, quality=60), folder="bea")

    def region(self, held: Held) -> Held:
        """Says of a match that it was found in the upper right quarter."""
        with self.sessions.begin() as session:
            query = select(MatchRow).join(Upload, Upload.content_id == MatchRow.content_id)
            matches = session.scalars(query.where(Upload.id == held.upload)).unique()
            for match in matches:
                match.view = "part"
                match.region = [0.5, 0.0, 0.5, 0.5]
        return held

    def aged(self, held: Held, share: float) -> Held:
        """Lets this share of the review's time pass at once."""
        with self.sessions.begin() as session:
            review = session.get_one(Review, held.review)
            passed = share * (review.due_at - review.opened_at)
            review.opened_at -= passed
            review.due_at -= passed
        return held

    def case(self, held: Held) -> str:
        """Where the standing case of a suspected minor is."""
        with self.sessions() as session:
            number = case_of(session, held.review)
        assert number is not None
        return f"/minors/{number}"

    def served(self, held: Held) -> bool:
        """Whether anybody who asks the storage gets it."""
        return self.rig.get(self.bucket, held.key) == held.body

    def state(self, held: Held) -> str:
        return self.rig.row(held.upload).state

    def expire(self, held: Held) -> None:
        """The time of whoever has the review in hand is over."""
        with self.sessions.begin() as session:
            session.execute(
                update(ClaimRow)
                .where(ClaimRow.review_id == held.review)
                .values(lease_until=func.clock_timestamp())
            )


def scene(number: int) -> Image.Image:
    """One of many pictures that look nothing alike: a photograph, or a part of it."""
    photo = media.photo(_NAMES[number % len(_NAMES)])
    round_number = number // len(_NAMES)
    if not round_number:
        return photo
    left, top = _PARTS[(round_number - 1) % len(_PARTS)]
    width, height = photo.size
    return photo.crop(
        (int(left * width), int(top * height), int((left + 0.6) * width), int((top + 0.6) * height))
    )


def _apart(value: bytes, distance: int) -> bytes:
    """A hash so many bits away."""
    number = int.from_bytes(value) ^ ((1 << distance) - 1)
    return number.to_bytes(len(value))


@contextmanager
def system_on(embedded: Embedded, database: str, state_dir: Path, bucket: str) -> Iterator[System]:
    """The system, whatever the environment says."""
    with pytest.MonkeyPatch.context() as patch, ExitStack() as ending:
        for name in [name for name in os.environ if name.startswith("HASHWARDEN_")]:
            patch.delenv(name)
        yield System(embedded, database, state_dir, bucket, ending)
