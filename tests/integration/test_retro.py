"""The past: what was cleared is found when a bank gets its hash later; once, and not where too much would move."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest
from PIL import ImageOps
from sqlalchemy import func, select, update

from bank_sync.bank import BankRecord, Feedback
from bank_sync.signals import Frame, pack_frames
from tests.integration.test_own_videos import clip
from worker.domain import Lane, State
from worker.media.media import memfd_from
from worker.retro.hunter import Hunter, Round
from worker.review.listing import list_reviews
from worker.store import hunts, ledger
from worker.store.hunts import RetroHit, RetroHunt
from worker.store.ledger import LedgerRow
from worker.store.models import Content, History, MatchRow, Review, Upload, WebhookMessage

if TYPE_CHECKING:
    from tests.integration.conftest import Rig


@pytest.fixture
def rig(rig: Rig) -> Rig:
    """The rig with a ledger, an empty index and a hunter that has looked once."""
    rig.settings = rig.settings.model_copy(
        update={"ledger": rig.settings.ledger.model_copy(update={"enabled": True})}
    )
    rig.with_policy()
    rig.publish()
    assert hunt(rig) is Round.DONE
    return rig


def hunt(rig: Rig) -> Round:
    """A round that reads the ledger in small blocks."""
    hunter = Hunter(rig.settings, rig.sessions, rows=3)
    # The server ends the lock of the round before a moment after that has gone.
    while (ended := hunter.round()) is Round.BUSY:
        pass
    return ended


def states(rig: Rig) -> list[str]:
    with rig.sessions() as session:
        return [each.state for each in reversed(hunts.list_hunts(session))]


def ledger_rows(rig: Rig) -> int:
    with rig.sessions() as session:
        return session.scalars(select(func.count()).select_from(LedgerRow)).one()


def cleared(rig: Rig, bucket: str, *seeds: int) -> list[int]:
    found = [rig.scan(bucket, f"user{seed}/{seed}.jpg", rig.jpeg(rig.picture(seed))) for seed in seeds]
    assert {state for _, state in found} == {State.CLEAR}
    return [upload_id for upload_id, _ in found]


def test_what_was_cleared_is_withheld_when_a_bank_gets_its_hash(rig: Rig, versioned_bucket: str) -> None:
    upload, other = cleared(rig, versioned_bucket, 1, 2)
    rig.bank_pdq(rig.hash_of(rig.jpeg(rig.picture(1).resize((500, 375)), 60)))
    assert hunt(rig) is Round.DONE
    assert rig.process(upload) is State.HELD
    assert rig.get(versioned_bucket, "user1/1.jpg") is None
    assert rig.process(other) is State.CLEAR
    with rig.sessions() as session:
        step = session.scalars(select(History).order_by(History.id.desc())).first()
        (line,) = list_reviews(session)
        message = session.scalars(select(WebhookMessage)).one()
        feedback = session.scalars(select(Feedback.value)).all()
        content = session.scalars(select(Content).join(Review)).one()
    assert step is not None
    assert (step.to_state, step.actor, step.reason) == ("held", "retro", "retro_match")
    assert (line.cause, line.retro) == ("match", True)
    assert (message.type, message.payload["retro"]) == ("item.held", True)
    assert feedback == ["PendingReview"]
    assert content.fingerprint, "a decision can put it into the own bank"
    assert states(rig) == ["done"]


def test_it_happens_once(rig: Rig, versioned_bucket: str) -> None:
    (upload,) = cleared(rig, versioned_bucket, 1)
    rig.bank_pdq(rig.hash_of(rig.jpeg(rig.picture(1))))
    for _ in range(3):
        assert hunt(rig) is Round.DONE
    assert rig.history(upload).count("held") == 1
    with rig.sessions() as session:
        assert session.scalar(select(func.count()).select_from(WebhookMessage)) == 1
        assert session.scalar(select(func.count()).select_from(RetroHit)) == 0
        assert session.scalars(select(RetroHunt.moved)).all() == [1]


def test_all_clear_uploads_of_the_bytes_move_and_no_others(rig: Rig, versioned_bucket: str) -> None:
    body = rig.jpeg(rig.picture(1))
    ids = [rig.scan(versioned_bucket, f"u{n}/a.jpg", body)[0] for n in range(3)]
    with rig.sessions.begin() as session:
        session.execute(update(Upload).where(Upload.id == ids[1]).values(state=State.RELEASED))
    rig.bank_pdq(rig.hash_of(body))
    hunt(rig)
    assert [State(rig.row(each).state) for each in ids] == [State.HELD, State.RELEASED, State.HELD]
    assert ledger_rows(rig) == 1, "the same bytes are in the ledger once"


@pytest.mark.parametrize("turn", [ImageOps.mirror, ImageOps.flip, ImageOps.invert])
def test_a_turned_or_inverted_upload_is_found_by_its_hash_alone(
    rig: Rig, versioned_bucket: str, turn: object
) -> None:
    assert callable(turn)
    upload, state = rig.scan(versioned_bucket, "u/a.jpg", rig.jpeg(turn(rig.picture(1))))
    assert state is State.CLEAR
    rig.bank_pdq(rig.hash_of(rig.jpeg(rig.picture(1))))
    hunt(rig)
    assert rig.process(upload) in {State.HELD, State.FLAGGED}
    with rig.sessions() as session:
        assert session.scalars(select(MatchRow.view)).one() in {
            "flip_horizontal",
            "flip_vertical",
            "complement",
        }


def test_beyond_the_radius_it_is_flagged_and_served(rig: Rig, versioned_bucket: str) -> None:
    body = rig.jpeg(rig.picture(1))
    upload, _ = rig.scan(versioned_bucket, "u/a.jpg", body)
    rig.bank_pdq(_away(rig.hash_of(body), 36))
    hunt(rig)
    assert rig.process(upload) is State.FLAGGED
    assert rig.get(versioned_bucket, "u/a.jpg") == body


def test_shadow_mode_records_and_moves_nothing(rig: Rig, versioned_bucket: str) -> None:
    rig.with_policy(mode="shadow")
    (upload,) = cleared(rig, versioned_bucket, 1)
    rig.bank_pdq(rig.hash_of(rig.jpeg(rig.picture(1))))
    hunt(rig)
    row = rig.row(upload)
    assert (row.state, row.reason) == (State.CLEAR, "retro_shadow_held")
    with rig.sessions() as session:
        assert session.scalars(select(MatchRow.effect)).all() == ["shadow"]
        assert session.scalar(select(func.count()).select_from(Review)) == 0


def test_a_video_is_found_by_its_frames(rig: Rig, versioned_bucket: str) -> None:
    upload = rig.put(versioned_bucket, "u/a.mp4", clip(size=(240, 180), crf=30), Lane.VIDEO)
    assert rig.process(upload) is State.CLEAR
    assert 4 <= ledger_rows(rig) <= 7, "one frame a second"
    with memfd_from([clip()]) as media:
        selected = rig.stages.sandbox.hash(media).vpdq
    film = pack_frames(Frame(each.hash, each.quality, each.frame_time or 0.0) for each in selected)
    rig.bank_records([BankRecord("vpdq", film)])
    hunt(rig)
    assert rig.process(upload) in {State.HELD, State.FLAGGED}
    with rig.sessions() as session:
        content = session.scalars(select(Content)).one()
    assert {each["signal_type"] for each in content.fingerprint or []} == {"vpdq"}


def test_a_video_is_found_by_its_md5_also_without_the_ledger(rig: Rig, versioned_bucket: str) -> None:
    body = clip()
    upload = rig.put(versioned_bucket, "u/a.mp4", body, Lane.VIDEO)
    assert rig.process(upload) is State.CLEAR
    with rig.sessions.begin() as session:
        ledger.forget_all(session)
    rig.bank_records([BankRecord("video_md5", hashlib.md5(body, usedforsecurity=False).digest())])
    hunt(rig)
    assert rig.process(upload) is State.HELD


def test_an_entry_that_is_withdrawn_before_the_hunt_moves_nothing(rig: Rig, versioned_bucket: str) -> None:
    (upload,) = cleared(rig, versioned_bucket, 1)
    value = rig.hash_of(rig.jpeg(rig.picture(1)))
    rig.bank_pdq(value)
    with rig.sessions.begin() as session:
        from bank_sync.bank import upsert

        upsert(session, "stopncii", [BankRecord("pdq", value, raw_status="Withdrawn")])
    hunt(rig)
    assert rig.row(upload).state == State.CLEAR
    rig.bank_pdq(value)
    hunt(rig)
    assert rig.row(upload).state == State.HELD, "it came back to life"


def _away(value: bytes, bits: int) -> bytes:
    """A hash so many bits from this one, spread over it."""
    number = int.from_bytes(value, "big")
    for bit in range(bits):
        number ^= 1 << (bit * 7 % 256)
    return number.to_bytes(32, "big")
