"""The reveal ladder over HTTP, with real storage and sandbox: who gets which pixels once, and what is written."""

from __future__ import annotations

import io
import re
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx
import numpy as np
import pytest
from PIL import Image
from sqlalchemy import func, select, text, update
from sqlalchemy.exc import DBAPIError

from config.exposure import ExposureSettings
from tests.integration.console import Console, form_fields, hidden
from tests.unit.media.hostile.videos import film
from worker.domain import Lane, State, Verdict
from worker.media.media import memfd_from
from worker.media.rungs import LONGEST_SIDE, Rung
from worker.media.sandbox import ZygoteSandbox
from worker.review.desk.reviews import decide_review
from worker.review.reveal.reveals import Reveals, moments
from worker.store.audit_log import AuditEntry
from worker.store.desk import ClaimRow
from worker.store.models import MatchRow, Review, Upload
from worker.store.people import Role
from worker.store.views import RevealAddress, View

if TYPE_CHECKING:
    from tests.integration.conftest import Rig

SCRIPT = {"accept": "application/json"}
SIZE = (1600, 1200)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[ZygoteSandbox]:
    with ZygoteSandbox() as made:
        yield made


@pytest.fixture
def ending() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@dataclass
class Desk:
    """A rig's pages on a socket, and clients signed in as three people."""

    rig: Rig
    pseudonym: str
    """Maria's."""
    maria: httpx.Client
    jo: httpx.Client
    nobody: httpx.Client

    def token(self, review_id: int, client: httpx.Client | None = None) -> str:
        page = (client or self.maria).get(f"/reviews/{review_id}").text
        found = re.search(r'name="token" value="([^"]+)"', page)
        assert found
        return found[1]

    def take(self, review_id: int) -> None:
        """Takes a review that is free, as its page offers it."""
        page = f"/reviews/{review_id}"
        form = form_fields(self.maria.get(page).text, f'action="{page}/take"')
        if form:
            assert self.maria.post(f"{page}/take", data=form).status_code == 303

    def ask(self, review_id: int, rung: Rung, region: str = "", **form: str) -> httpx.Response:
        self.take(review_id)
        data = {"token": self.token(review_id), "rung": str(int(rung)), "region": region} | form
        return self.maria.post(f"/reviews/{review_id}/reveal", data=data, headers=SCRIPT)

    def address(self, review_id: int, rung: Rung, region: str = "") -> str:
        answer = self.ask(review_id, rung, region)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["address"])

    def see(self, review_id: int, rung: Rung, region: str = "") -> httpx.Response:
        return self.maria.get(self.address(review_id, rung, region))

    def cover(self, address: str, seconds: str, client: httpx.Client | None = None) -> int:
        """Tells for how long a look was shown; the status of the answer."""
        client = client or self.maria
        token = hidden(client.get("/break").text)["token"]
        return client.post(address + "/covered", data={"token": token, "seconds": seconds}).status_code

    def views(self) -> list[View]:
        with self.rig.sessions() as session:
            return list(session.scalars(select(View).order_by(View.id)))


def desk_of(rig: Rig, ending: ExitStack, sandbox: ZygoteSandbox, **exposure: float) -> Desk:
    settings = rig.settings.model_copy(
        update={
            "exposure": ExposureSettings.model_validate(exposure),
        }
    )
    reveals = Reveals(settings, rig.sessions, rig.parts.store, sandbox, sandbox)
    console = Console(settings, rig.sessions, ending, reveals)
    pseudonym, maria = console.signed_in("maria", Role.MINOR_SAFETY)
    _, jo = console.signed_in("jo", Role.REVIEWER)
    return Desk(rig, pseudonym, maria, jo, console.nobody)


@pytest.fixture
def desk(rig: Rig, ending: ExitStack, sandbox: ZygoteSandbox) -> Desk:
    return desk_of(rig, ending, sandbox)


def review_of(rig: Rig, upload_id: int) -> int:
    with rig.sessions() as session:
        content_id = session.get_one(Upload, upload_id).content_id
        return session.scalars(select(Review.id).where(Review.content_id == content_id)).one()


def held_picture(rig: Rig, bucket: str, seed: int = 1) -> int:
    """A picture that a match withholds; its review."""
    body = rig.jpeg(rig.picture(seed, SIZE))
    rig.bank_pdq(rig.hash_of(body))
    upload_id, state = rig.scan(bucket, f"ann/{seed}.jpg", body)
    assert state is State.HELD
    assert rig.get(bucket, f"ann/{seed}.jpg") is None
    return review_of(rig, upload_id)


@pytest.fixture
def review(rig: Rig, versioned_bucket: str) -> int:
    return held_picture(rig, versioned_bucket)


def opened(answer: httpx.Response) -> Image.Image:
    assert answer.status_code == 200, answer.text
    picture = Image.open(io.BytesIO(answer.content))
    picture.load()
    return picture


@pytest.mark.parametrize("kind", ["versioned", "plain"])
def test_each_rung_of_a_held_object_is_no_larger_than_it_says(
    desk: Desk, rig: Rig, versioned_bucket: str, plain_bucket: str, kind: str
) -> None:
    review = held_picture(rig, versioned_bucket if kind == "versioned" else plain_bucket)
    for rung, longest in LONGEST_SIDE.items():
        answer = desk.see(review, rung, "cell-5" if rung is Rung.PEEK else "")
        found = opened(answer)
        assert max(found.size) == longest
        assert found.mode == ("L" if rung is Rung.GREY else "RGB")
        assert found.info == {}
        assert answer.headers["content-type"] == "image/png"
        assert answer.headers["content-disposition"] == "inline"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    views = [(view.actor, view.review_id, view.rung, view.region, view.stills) for view in desk.views()]
    assert views == [
        (desk.pseudonym, review, int(rung), "cell-5" if rung is Rung.PEEK else "", 1) for rung in LONGEST_SIDE
    ]


def test_the_whole_shows_the_very_picture_with_a_name_in_it(desk: Desk, rig: Rig, review: int) -> None:
    found = np.asarray(opened(desk.see(review, Rung.WHOLE)).convert("RGB")).astype(int)
    expected = np.asarray(rig.picture(1, SIZE).resize((1024, 768))).astype(int)
    apart = np.abs(found - expected).max(axis=2)
    assert np.median(apart) <= 6
    assert (apart > 25).mean() > 0.02


def test_an_address_serves_once_and_its_owner_alone(desk: Desk, review: int) -> None:
    address = desk.address(review, Rung.GREY)
    assert desk.nobody.get(address).status_code == 303
    assert desk.jo.get(address).status_code == 403
    assert desk.views() == []
    assert desk.maria.get(address).status_code == 200
    again = desk.maria.get(address)
    assert (again.status_code, "problem" in again.json()) == (410, True)
    assert desk.jo.get(address).status_code == 403
    assert len(desk.views()) == 1
    assert desk.maria.get("/reveal/" + "x" * 43).status_code == 410


def test_two_at_once_get_one_picture(desk: Desk, review: int) -> None:
    address, statuses = desk.address(review, Rung.WHOLE), []

    def get() -> None:
        answer = httpx.get(
            str(desk.maria.base_url).rstrip("/") + address, cookies=desk.maria.cookies, timeout=30
        )
        statuses.append(answer.status_code)

    threads = [threading.Thread(target=get) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200, 410, 410, 410]
    assert len(desk.views()) == 1


def test_an_address_expires(desk: Desk, rig: Rig, review: int) -> None:
    address = desk.address(review, Rung.MOSAIC)
    with rig.sessions.begin() as session:
        session.execute(update(RevealAddress).values(until=func.clock_timestamp()))
    assert desk.maria.get(address).status_code == 410
    assert desk.views() == []


def test_the_database_holds_no_token(desk: Desk, rig: Rig, review: int) -> None:
    token = desk.address(review, Rung.MOSAIC).rpartition("/")[2]
    with rig.sessions() as session:
        (row,) = session.execute(
            text("SELECT row_to_json(reveal_addresses)::text FROM reveal_addresses")
        ).one()
    assert token not in row
    assert token.encode().hex() not in row


def test_asking_needs_a_form_of_the_same_person_and_review(desk: Desk, review: int) -> None:
    for token in ("", "1.2", desk.token(review, desk.jo)):
        answer = desk.ask(review, Rung.MOSAIC, token=token)
        assert answer.status_code in {400, 403}
    assert desk.nobody.post(f"/reviews/{review}/reveal", data={"token": "x", "rung": "1"}).status_code == 401


@pytest.mark.parametrize(
    ("rung", "region"),
    [
        (Rung.FACTS, ""),
        (Rung.PEEK, ""),
        (Rung.WHOLE, "cell-1"),
        (Rung.PEEK, "cell-0"),
        (Rung.PEEK, "cell-10"),
        (Rung.PEEK, "match-999"),
        (Rung.PEEK, "match-1"),
        (Rung.PEEK, "'; --"),
    ],
)
def test_what_is_no_rung_or_region_is_refused(desk: Desk, review: int, rung: Rung, region: str) -> None:
    assert desk.ask(review, rung, region).status_code == 400


def test_the_matched_region_is_offered_first_and_shown_as_it_is_stored(
    desk: Desk, rig: Rig, review: int
) -> None:
    with rig.sessions.begin() as session:
        match = session.scalars(select(MatchRow)).one()
        match.region = [0.5, 0.0, 0.5, 0.5]
        region = f"match-{match.id}"
    page = desk.maria.get(f"/reviews/{review}").text
    assert page.index(f'data-region="{region}"') < page.index('data-region="cell-1"')
    found = opened(desk.see(review, Rung.PEEK, region)).resize((80, 60), Image.Resampling.BOX)
    expected = rig.picture(1, SIZE).crop((800, 0, 1600, 600)).resize((80, 60), Image.Resampling.BOX)
    apart = np.abs(np.asarray(found).astype(int) - np.asarray(expected).astype(int))
    assert np.median(apart) <= 12


def test_a_suspected_minor_is_shown_at_no_rung(desk: Desk, rig: Rig, review: int) -> None:
    before = desk.address(review, Rung.MOSAIC)
    token, jos = desk.token(review), desk.token(review, desk.jo)
    decide_review(
        rig.sessions,
        rig.settings.policy,
        review,
        Verdict.SUSPECTED_MINOR,
        actor="jo",
        request_id="minor",
    )
    assert desk.maria.get(before).status_code == 410
    for rung in LONGEST_SIDE:
        region = "cell-1" if rung is Rung.PEEK else ""
        form = {"token": token, "rung": str(int(rung)), "region": region}
        answer = desk.maria.post(f"/reviews/{review}/reveal", data=form, headers=SCRIPT)
        assert answer.status_code == 403
        assert "minor" in answer.json()["problem"]
        answer = desk.jo.post(f"/reviews/{review}/reveal", data=form | {"token": jos}, headers=SCRIPT)
        assert (answer.status_code, "minor" in answer.text) == (404, False)
    page = desk.maria.get(f"/reviews/{review}").text
    assert "No picture is shown at any rung" in page
    assert "data-reveal" not in page
    assert "reveal.js" not in page
    assert desk.views() == []


def test_a_look_is_in_the_audit_log(desk: Desk, rig: Rig, review: int) -> None:
    desk.see(review, Rung.GREY)
    with rig.sessions() as session:
        entry = session.scalars(select(AuditEntry).where(AuditEntry.action == "reveal")).one()
        assert (entry.actor, entry.subject_id) == (desk.pseudonym, str(review))
        assert entry.details == {"view": desk.views()[0].id, "rung": "grey", "region": "", "stills": 1}


def test_a_picture_is_shown_to_who_has_the_review_in_hand(desk: Desk, rig: Rig, review: int) -> None:
    page = f"/reviews/{review}"
    form = {"token": desk.token(review, desk.jo), "rung": "1"}
    refused = desk.jo.post(f"{page}/reveal", data=form | {"purpose": "quality"}, headers=SCRIPT)
    assert (refused.status_code, "who has the review in hand" in refused.text) == (403, True)
    text = desk.jo.get(page).text
    assert "Take the review first" in text
    assert "data-reveal" not in text
    taking = form_fields(text, f'action="{page}/take"')
    assert desk.jo.post(f"{page}/take", data=taking).status_code == 303
    assert desk.jo.post(f"{page}/reveal", data=form, headers=SCRIPT).status_code == 200
    # The lease is over: the page that is still open shows no more.
    with rig.sessions.begin() as session:
        session.execute(update(ClaimRow).values(lease_until=func.clock_timestamp()))
    assert desk.jo.post(f"{page}/reveal", data=form, headers=SCRIPT).status_code == 403


def test_beside_the_claim_a_duty_needs_a_reason_and_so_does_what_is_decided(
    desk: Desk, rig: Rig, review: int
) -> None:
    page = f"/reviews/{review}"
    form = {"token": desk.token(review), "rung": "1"}
    refused = desk.maria.post(f"{page}/reveal", data=form, headers=SCRIPT)
    assert (refused.status_code, "for a stated reason" in refused.text) == (403, True)
    assert desk.maria.post(f"{page}/reveal", data=form | {"purpose": "boredom"}).status_code == 400
    assert 'name="purpose"' in desk.maria.get(page).text
    asked = desk.maria.post(f"{page}/reveal", data=form | {"purpose": "advice"}, headers=SCRIPT)
    assert desk.maria.get(asked.json()["address"]).status_code == 200
    decide_review(rig.sessions, rig.settings.policy, review, Verdict.LAWFUL, actor="ops", request_id="1")
    form = {"token": desk.token(review, desk.jo), "rung": "1"}
    assert desk.jo.post(f"{page}/reveal", data=form, headers=SCRIPT).status_code == 403
    asked = desk.jo.post(f"{page}/reveal", data=form | {"purpose": "quality"}, headers=SCRIPT)
    assert desk.jo.get(asked.json()["address"]).status_code == 200
    with rig.sessions() as session:
        entries = session.scalars(
            select(AuditEntry.details).where(AuditEntry.action == "reveal").order_by(AuditEntry.seq)
        )
        assert [details["purpose"] for details in entries] == ["advice", "quality"]


def test_a_look_is_closed_once(desk: Desk, review: int) -> None:
    address = desk.address(review, Rung.WHOLE)
    assert desk.maria.get(address).status_code == 200
    assert desk.views()[0].seconds is None
    assert desk.cover(address, "1", desk.jo) == 204
    assert desk.views()[0].seconds is None
    for told in ("-1", "nan", "x", "1e9"):
        assert desk.cover(address, told) == 400
    assert desk.cover(address, "4000") == 204
    seconds = desk.views()[0].seconds
    # No longer than since it was sent.
    assert seconds is not None
    assert 1 <= seconds < 30
    desk.cover(address, "0")
    assert desk.views()[0].seconds == seconds


def test_the_ledger_is_append_only_but_for_the_seconds_once(desk: Desk, rig: Rig, review: int) -> None:
    desk.see(review, Rung.MOSAIC)
    for statement in (
        "DELETE FROM views",
        "TRUNCATE views CASCADE",
        "UPDATE views SET actor = 'jo'",
        "UPDATE views SET seconds = 1, rung = 4",
        "UPDATE views SET seconds = NULL",
    ):
        with pytest.raises(DBAPIError, match="append-only"), rig.sessions.begin() as session:
            session.execute(text(statement))
    with rig.sessions.begin() as session:
        session.execute(text("UPDATE views SET seconds = 2"))
    with pytest.raises(DBAPIError, match="append-only"), rig.sessions.begin() as session:
        session.execute(text("UPDATE views SET seconds = 3"))


def test_limits_offer_a_break_and_then_end_all_but_the_mosaic(
    rig: Rig, ending: ExitStack, sandbox: ZygoteSandbox, review: int
) -> None:
    desk = desk_of(rig, ending, sandbox, soft_looks_hour=1, hard_looks_hour=2)
    assert "A break is due" not in desk.maria.get(f"/reviews/{review}").text
    early = desk.address(review, Rung.WHOLE)
    desk.see(review, Rung.GREY)
    desk.see(review, Rung.WHOLE)
    page = desk.maria.get(f"/reviews/{review}").text
    assert "A break is due" in page
    assert "1 in the last hour (8 s)" in page
    desk.see(review, Rung.PEEK, "cell-1")
    for rung in (Rung.GREY, Rung.WHOLE):
        refused = desk.ask(review, rung)
        assert refused.status_code == 429
        assert "only the mosaic is shown until" in refused.json()["problem"]
    # An address from before doesn't get round it.
    assert desk.maria.get(early).status_code == 429
    assert desk.see(review, Rung.MOSAIC).status_code == 200
    page = desk.maria.get(f"/reviews/{review}").text
    assert "data-rung" not in page
    assert "Only the mosaic is shown to you until" in page
    assert "shown again from" in desk.maria.get("/break").text
    # Of another person nothing is counted.
    assert "A break is due" not in desk.jo.get(f"/reviews/{review}").text


def test_a_form_without_script_shows_the_lowest_two_rungs(desk: Desk, review: int) -> None:
    desk.take(review)
    for rung, size in ((1, (16, 16)), (2, (160, 120))):
        form = {"token": desk.token(review), "rung": str(rung)}
        page = desk.maria.post(f"/reviews/{review}/reveal", data=form)
        assert page.status_code == 200
        (address,) = re.findall(r'<img class="\w+" src="(/reveal/[\w-]+)"', page.text)
        assert opened(desk.maria.get(address)).size == size
    form = {"token": desk.token(review), "rung": "4"}
    assert desk.maria.post(f"/reviews/{review}/reveal", data=form).status_code == 400


def test_what_can_not_be_shown_says_so_and_is_no_look(desk: Desk, rig: Rig, versioned_bucket: str) -> None:
    rig.publish()
    upload_id, state = rig.scan(versioned_bucket, "ann/broken.png", b"\x89PNG\r\n\x1a\n" + bytes(200))
    assert state is State.UNSCANNABLE
    answer = desk.see(review_of(rig, upload_id), Rung.GREY)
    assert answer.status_code == 422
    assert "can't be shown (broken)" in answer.json()["problem"]
    assert desk.views() == []


def test_bytes_that_are_gone_or_another_say_so(desk: Desk, rig: Rig, review: int) -> None:
    with rig.sessions.begin() as session:
        session.execute(update(Upload).values(version_id="nowhere"))
    answer = desk.see(review, Rung.MOSAIC)
    assert answer.status_code == 404
    assert "no more" in answer.json()["problem"]
    assert desk.views() == []


def test_another_copy_is_read_where_one_is_gone(desk: Desk, rig: Rig, versioned_bucket: str) -> None:
    review = held_picture(rig, versioned_bucket)
    body = rig.jpeg(rig.picture(1, SIZE))
    second, _ = rig.scan(versioned_bucket, "ann/copy.jpg", body)
    with rig.sessions.begin() as session:
        session.execute(update(Upload).where(Upload.id == second).values(version_id="nowhere"))
    assert opened(desk.see(review, Rung.MOSAIC)).size == (16, 16)


def test_a_video_is_stills_around_the_matched_seconds(desk: Desk, rig: Rig, versioned_bucket: str) -> None:
    body = film((0, 1, 2, 3))
    with memfd_from([body]) as media:
        frames = rig.stages.sandbox.hash(media).originals
    rig.bank_pdq(frames[len(frames) // 2].hash)
    upload_id = rig.put(versioned_bucket, "ann/film.mp4", body, Lane.VIDEO)
    assert rig.process(upload_id) is State.HELD
    review = review_of(rig, upload_id)
    found = opened(desk.see(review, Rung.WHOLE))
    (view,) = desk.views()
    assert 2 <= view.stills <= 12
    assert max(found.size) <= 4 * 160 + 3 * 2
    assert "up to twelve stills" in desk.maria.get(f"/reviews/{review}").text


def test_moments_are_the_matched_seconds_and_those_around() -> None:
    assert moments([]) == ()
    assert moments([10.0])[:5] == (10.0, 11.0, 9.0, 12.0, 8.0)
    assert len(moments([10.0])) == 12
    assert moments([0.2])[:3] == (0.2, 1.2, 2.2)
    assert len(moments([float(second) for second in range(40)])) == 12
    assert moments([5.0, 5.1, 8.0])[:2] == (5.0, 8.0)
