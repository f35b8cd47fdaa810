"""The review pages over HTTP: who gets in, what is shown and what never is, and that a form decides once."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import httpx
import pytest
from sqlalchemy import select

from config.database import make_engine, make_sessions
from config.settings import Settings, load_settings
from tests.integration.console import Console, form_fields, served
from worker.domain import Lane, State
from worker.review.app import make_app
from worker.review.pages.doors import HEADERS, SCRIPT_POLICY
from worker.store.models import DecisionRow, MatchRow, Review, Upload
from worker.store.people import Role

if TYPE_CHECKING:
    from tests.integration.conftest import Rig


class Pages(Console):
    """The pages of a rig, and maria, a reviewer who is signed in."""

    def __init__(self, rig: Rig, ending: ExitStack) -> None:
        super().__init__(rig.settings, rig.sessions, ending)
        self.pseudonym, self.maria = self.signed_in("maria", Role.REVIEWER)

    def form(self, review_id: int) -> dict[str, str]:
        """The hidden fields of a review's form, once it is taken."""
        return self.form_of(self.maria, review_id)

    def person(self, name: str, *roles: Role) -> httpx.Client:
        """A client of somebody new; a reviewer, if nothing else is said."""
        return self.signed_in(name, *(roles or (Role.REVIEWER,)))[1]

    def fields(self, page: str, form: str, client: httpx.Client | None = None) -> dict[str, str]:
        """As `form_fields`, for maria if nobody else is given."""
        return form_fields((client or self.maria).get(page).text, form)

    def press(
        self, page: str, action: str, client: httpx.Client | None = None, **more: str
    ) -> httpx.Response:
        """Sends the form of a page whose address ends so."""
        client = client or self.maria
        fields = self.fields(page, f'{action}"', client)
        address = f"{page}/{action}" if not action.startswith("/") else action
        return client.post(address, data=fields | more)


@pytest.fixture
def ending() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def pages(rig: Rig, ending: ExitStack) -> Pages:
    return Pages(rig, ending)


@pytest.fixture
def held(rig: Rig, versioned_bucket: str) -> int:
    """An upload with a hostile name that is held by a match; its id."""
    body = rig.jpeg(rig.picture(1))
    rig.bank_pdq(rig.hash_of(body))
    upload_id, state = rig.scan(versioned_bucket, "<script>alert(1)</script>.jpg", body)
    assert state is State.HELD
    return upload_id


@pytest.fixture
def review(held: int, rig: Rig) -> int:
    with rig.sessions() as session:
        content_id = session.get_one(Upload, held).content_id
        return session.scalars(select(Review.id).where(Review.content_id == content_id)).one()


ADDRESSES = ("/", "/?every=true", "/reviews/1", "/uploads", "/uploads?state=held", "/uploads/1")


@pytest.mark.parametrize("address", ADDRESSES)
def test_nobody_gets_in_without_a_sign_in(pages: Pages, address: str) -> None:
    for cookie in ("", "hashwarden=" + "x" * 43, "hashwarden-door=x"):
        answer = pages.nobody.get(address, headers={"cookie": cookie})
        assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")
    answer = pages.nobody.get(address, headers={"authorization": "Basic bWFyaWE6cGFzc3dvcmQ="})
    assert answer.status_code == 303
    assert pages.nobody.post("/reviews/1", data={"verdict": "lawful"}).status_code == 401


def test_probes_need_no_sign_in(pages: Pages) -> None:
    assert pages.nobody.get("/health/live").json() == {"status": "live"}
    assert pages.nobody.get("/metrics").status_code == 200


@pytest.mark.parametrize("address", [*ADDRESSES, "/nowhere", "/static/pages.css", "/health/live", "/metrics"])
def test_every_answer_carries_the_headers(pages: Pages, held: int, address: str) -> None:
    answer = pages.maria.get(address)
    scripted = "<script" in answer.text
    for name, value in HEADERS.items():
        policy = SCRIPT_POLICY if scripted and name == "Content-Security-Policy" else value
        assert answer.headers[name] == policy
    assert "unsafe" not in SCRIPT_POLICY
    assert held


@pytest.mark.parametrize("address", ADDRESSES)
def test_pages_load_nothing_from_elsewhere_and_escape_what_they_show(
    pages: Pages, held: int, address: str
) -> None:
    answer = pages.maria.get(address)
    assert answer.status_code == 200
    assert re.findall("<script[^>]*>", answer.text) in ([], ['<script src="/static/review.js" defer>'])
    assert not re.findall(r" on\w+=", answer.text)
    assert "<img" not in answer.text
    assert " style=" not in answer.text
    assert not re.findall(r'(?:src|href|action)="(?!/)', answer.text)
    assert held


def test_pages_name_no_hash_entry_or_case(pages: Pages, rig: Rig, held: int, review: int) -> None:
    with rig.sessions() as session:
        content = session.get_one(Upload, held).content
        assert content is not None
        assert content.sha256 is not None
        assert content.md5 is not None
        assert content.fingerprint is not None
        secrets = [content.sha256.hex(), content.md5.hex(), *(view["hash"] for view in content.fingerprint)]
    for address in ("/", f"/reviews/{review}", "/uploads", f"/uploads/{held}", "/metrics"):
        text = pages.maria.get(address).text
        assert not [secret for secret in secrets if secret in text]


def test_the_list_tells_what_a_reviewer_needs(pages: Pages, held: int, review: int) -> None:
    text = pages.maria.get("/").text
    for part in (f"/reviews/{review}", "stopncii", "pdq", "as uploaded", "1 held", "hold", ">50<"):
        assert part in text
    assert "&lt;script&gt;" not in text
    assert "&lt;script&gt;" in pages.maria.get(f"/reviews/{review}").text
    assert held


def test_a_review_draws_where_in_the_upload_and_says_when_in_the_video_it_was_found(
    pages: Pages, rig: Rig, review: int
) -> None:
    assert 'class="region"' not in pages.maria.get(f"/reviews/{review}").text
    with rig.sessions.begin() as session:
        match = session.scalars(select(MatchRow)).one()
        match.view, match.region, match.frame_time = "part_flip_horizontal", [0.25, 0.5, 0.5, 0.25], 83.26
    text = pages.maria.get(f"/reviews/{review}").text
    assert "mirrored, a part of the picture, its border removed" in text
    assert "1 min 23.3 s" in text
    assert "From 25% to 75% of the width and from 50% to 75% of the height of the upload" in text
    assert re.search(r'<rect class="found" x="24.0" y="36.0" width="48.0" height="18.0"/>', text)


def test_an_empty_list_says_so(pages: Pages) -> None:
    assert "Nothing waits for a decision." in pages.maria.get("/").text


def test_a_form_decides_once(pages: Pages, rig: Rig, held: int, review: int) -> None:
    form = pages.form(review) | {"verdict": "confirmed", "reason": "the reported one"}
    for _ in range(2):
        answer = pages.maria.post(f"/reviews/{review}", data=form)
        assert (answer.status_code, answer.headers["location"]) == (303, f"/reviews/{review}#next")
    with rig.sessions() as session:
        decision = session.scalars(select(DecisionRow)).one()
        assert (decision.actor, decision.verdict, decision.reason) == (
            pages.pseudonym,
            "confirmed",
            "the reported one",
        )
    assert rig.row(held).state == "removed"
    assert pages.woken == [(held, Lane.IMAGE)]
    text = pages.maria.get(f"/reviews/{review}").text
    assert "the reported one" in text
    assert "Undo until" in text


def test_a_form_of_somebody_else_decides_nothing(pages: Pages, rig: Rig, held: int, review: int) -> None:
    form = pages.form(review) | {"verdict": "lawful"}
    _, jo = pages.signed_in("jo", Role.REVIEWER)
    other = jo.post(f"/reviews/{review}", data=form)
    assert other.status_code == 403
    assert "Nothing was done" in other.text
    for token in ("", "1", "0" * 64, form["token"] + "0", "x" + form["token"], "é"):
        forged = form | {"token": token}
        assert pages.maria.post(f"/reviews/{review}", data=forged).status_code in {400, 403}
    del form["token"]
    assert pages.maria.post(f"/reviews/{review}", data=form).status_code == 403
    assert rig.row(held).state == "held"


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"verdict": "maybe"}, 400),
        ({"verdict": ""}, 400),
        ({"reason": "a" * 4001}, 409),
        ({"reason": "a\x00b"}, 409),
        ({"request_id": " "}, 409),
        ({"claim": ""}, 409),
        ({"claim": "00000000-0000-0000-0000-000000000000"}, 409),
        ({"code": "no such reason"}, 400),
    ],
)
def test_a_form_that_is_none_changes_nothing(
    pages: Pages, rig: Rig, held: int, review: int, change: dict[str, str], status: int
) -> None:
    form = pages.form(review) | {"verdict": "lawful"} | change
    assert pages.maria.post(f"/reviews/{review}", data=form).status_code == status
    assert rig.row(held).state == "held"


def test_a_huge_form_is_refused_before_it_is_read(pages: Pages) -> None:
    answer = pages.nobody.post("/reviews/1", content=b"a" * 70_000)
    assert answer.status_code == 413

    def endless() -> Iterator[bytes]:
        yield b"a"

    assert pages.nobody.post("/reviews/1", content=endless()).status_code == 413


@pytest.mark.parametrize(
    ("address", "status"),
    [
        ("/reviews/999", 404),
        ("/uploads/999", 404),
        ("/nowhere", 404),
        ("/reviews/x", 400),
        ("/reviews/99999999999999999999", 400),
        ("/uploads?state=nowhere", 400),
    ],
)
def test_what_is_not_there_is_one_sentence(pages: Pages, address: str, status: int) -> None:
    answer = pages.maria.get(address)
    assert answer.status_code == status
    assert answer.text.count("<h1") == 1
    assert "Traceback" not in answer.text


def test_uploads_show_coverage_and_alarms(pages: Pages, held: int) -> None:
    text = pages.maria.get("/uploads").text
    assert "1 seen: 1 scanned" in text
    assert "The dispatcher has never run" in text
    assert "<code>hashwarden dispatch</code>" in text
    assert "1 alarm" not in pages.maria.get("/uploads?state=held").text
    assert "What is wrong" in pages.maria.get("/").text
    assert held


def test_pages_are_well_formed(pages: Pages, held: int, review: int) -> None:
    for address in ("/", f"/reviews/{review}", "/uploads", f"/uploads/{held}"):
        text = pages.maria.get(address).text
        closed = re.sub(r"<(meta|link|input|br)([^>]*)>", r"<\1\2/>", text.replace("<!doctype html>", ""))
        closed = re.sub(r" (required|selected|disabled|defer|checked)(?=[ />])", r' \1=""', closed)
        assert ElementTree.fromstring(closed).tag == "html"  # noqa: S314 (our own pages)


def test_a_database_that_is_away_is_told(settings: Settings) -> None:
    database = load_settings(database={"url": "postgresql+psycopg://u:pw@127.0.0.1:1/x"}).database
    engine = make_engine(database)
    app = make_app(settings, make_sessions(engine), len)
    with served(app) as address, httpx.Client(base_url=address) as client:
        answer = client.get("/", headers={"cookie": "hashwarden=x"})
        assert answer.status_code == 503
        assert "The database can&#39;t be reached" in answer.text
        assert client.get("/sign-in").status_code == 503
        assert client.get("/health/ready").json()["database"] == "database"
        assert "hashwarden_database_up 0.0" in client.get("/metrics").text
    engine.dispose()
