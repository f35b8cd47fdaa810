"""From a person's browser to the platform and back: hashes in, copies held, feedback seen, all taken back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import FilePayload, Page, expect
from sqlalchemy import select

from bank_sync.feedback import send_due
from bank_sync.sandbox.client import PracticeClient
from bank_sync.sync import sync_banks
from tests.integration.conftest import Rig
from worker.demo import media
from worker.domain import Lane, State, Verdict
from worker.review.desk.reviews import decide_review
from worker.store.models import Review, Upload
from worker.withdrawals import release_withdrawn

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from config.settings import Settings

BANK = "practice"


class Platform:
    """One that takes part: it pulls the bank, looks at uploads, decides and tells the bank."""

    def __init__(self, rig: Rig, bucket: str) -> None:
        self._rig = rig
        self._bucket = bucket

    def pull(self) -> tuple[int, int, int]:
        """New, withdrawn and reactivated entries of a sync as cron runs it."""
        run = sync_banks(self._rig.sessions, self._rig.settings)
        assert not run.failed
        (report,) = run.reports
        changes = report.changes
        return changes.new, changes.withdrawn, changes.reactivated

    def upload(self, key: str, body: bytes) -> int:
        lane = Lane.VIDEO if key.endswith(".mp4") else Lane.IMAGE
        number = self._rig.put(self._bucket, key, body, lane)
        assert self._rig.process(number) is State.HELD
        return number

    def state(self, upload: int) -> State:
        self._rig.process(upload)
        return State(self._rig.row(upload).state)

    def confirm(self, upload: int) -> None:
        with self._rig.sessions() as session:
            query = select(Review.id).join(Upload, Upload.content_id == Review.content_id)
            review = session.scalars(query.where(Upload.id == upload)).one()
        decide_review(
            self._rig.sessions,
            self._rig.settings.policy,
            review,
            Verdict.CONFIRMED,
            actor="maria",
            request_id="one",
        )

    def tell(self) -> int:
        """How many feedbacks reached the bank."""
        return send_due(self._rig.sessions, self._rig.settings.banks).sent

    def let_go(self) -> int:
        """Releases what only withdrawn entries held, as the dispatcher does."""
        return release_withdrawn(self._rig.sessions)


@pytest.fixture
def platform(settings: Settings, s3: S3Client, versioned_bucket: str, bank_url: str) -> Iterator[Platform]:
    with PracticeClient(bank_url) as client:
        banks = {BANK: client.bank_settings()}
    index = settings.index.model_copy(update={"poll_every": 0.001})
    rig = Rig(settings.model_copy(update={"banks": banks, "index": index}), s3)
    yield Platform(rig, versioned_bucket)
    rig.close()


def test_hashes_go_in_copies_are_held_and_all_is_taken_back(visitor: Page, platform: Platform) -> None:
    cat, bee = media.photo("cat"), media.photo("bee")
    film = media.film(media.pan(media.photo("rocket"), 1))
    files: list[FilePayload] = [
        {"name": "1.png", "mimeType": "image/png", "buffer": media.encoded(cat, "PNG")},
        {"name": "2.jpg", "mimeType": "image/jpeg", "buffer": media.encoded(bee)},
        {"name": "3.mp4", "mimeType": "video/mp4", "buffer": film},
    ]
    visitor.goto("/send")
    visitor.set_input_files("#files", files)
    visitor.get_by_role("button", name="Send 3 hashes").click()
    expect(visitor.locator("#sent-title")).to_be_focused()
    number, pin = visitor.locator("#number").inner_text(), visitor.locator("#pin").inner_text()
    shown = visitor.locator("main section")

    assert platform.pull() == (3, 0, 0)
    _open(visitor, number, pin)
    expect(shown).to_contain_text(["looks for it", "looks for it", "looks for it"])

    copy = platform.upload("copy.jpg", media.encoded(media.smaller(media.mirrored(cat)), quality=60))
    other = platform.upload("other.webp", media.encoded(media.smaller(bee), "WEBP"))
    same = platform.upload("same.mp4", film)
    assert platform.tell() == 3
    visitor.get_by_role("button", name="Look again").click()
    expect(shown).to_contain_text(["found a match", "found a match", "found a match"])
    platform.confirm(copy)
    assert platform.tell() == 1
    visitor.get_by_role("button", name="Look again").click()
    expect(shown).to_contain_text(["is not shown there any more", "found a match", "found a match"])

    visitor.get_by_role("button", name="Take it back").click()
    expect(visitor.get_by_role("status")).to_contain_text("You took it back.")
    expect(shown).to_contain_text(["It still has to ask for changes."] * 3)
    assert platform.pull() == (0, 3, 0)
    platform.let_go()
    visitor.get_by_role("button", name="Look again").click()
    expect(shown).to_contain_text(["It has been told that you took it back."] * 3)
    assert [platform.state(upload) for upload in (other, same)] == [State.RELEASED] * 2

    visitor.get_by_role("button", name="Make it active again").click()
    expect(visitor.get_by_role("status")).to_contain_text("It is active again.")
    assert platform.pull() == (0, 0, 3)


def _open(page: Page, number: str, pin: str) -> None:
    """As somebody who comes back later, with what was written down."""
    page.goto("/case")
    page.get_by_label("Case number").fill(number)
    page.get_by_label("PIN").fill(pin)
    page.get_by_role("button", name="See your case").click()
    expect(page.get_by_role("heading", name="Your case")).to_be_visible()
