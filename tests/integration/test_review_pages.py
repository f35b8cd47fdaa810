"""The review pages over HTTP: who gets in, what is shown and what never is, and that a form decides once."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from pydantic import SecretStr
from sqlalchemy import select

from config.database import make_engine, make_sessions
from config.settings import Settings, load_settings
from worker.domain import Lane, State
from worker.review.doors import HEADERS
from worker.review.pages import make_app
from worker.store.models import DecisionRow, MatchRow, Review, Upload

if TYPE_CHECKING:
    from tests.integration.conftest import Rig

PASSWORD = "a pass: wörd"  # noqa: S105 (of this test)


@contextmanager
def served(app: FastAPI) -> Iterator[str]:
    """The application on a real socket of this host; its address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


class Pages:
    """The application of a rig on a socket, a client that is signed in as maria, and one that is not."""

    def __init__(self, rig: Rig, ending: ExitStack, password: str | None = PASSWORD) -> None:
        review = rig.settings.review.model_copy(
            update={"password": SecretStr(password) if password else None}
        )
        self.woken: list[tuple[int, Lane]] = []
        app = make_app(rig.settings.model_copy(update={"review": review}), rig.sessions, self._wake)
        address = ending.enter_context(served(app))
        self.nobody = ending.enter_context(httpx.Client(base_url=address))
        self.maria = ending.enter_context(httpx.Client(base_url=address, auth=(b"maria", PASSWORD.encode())))

    def _wake(self, moved: Sequence[tuple[int, Lane]]) -> None:
        self.woken += moved

    def form(self, review_id: int) -> dict[str, str]:
        """The hidden fields of a review's form."""
        page = self.maria.get(f"/reviews/{review_id}").text
        return dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]+)"', page))


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
def test_nobody_gets_in_without_name_and_password(pages: Pages, address: str) -> None:
    answer = pages.nobody.get(address)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Basic ")
    for auth in (("maria", "wrong"), ("", PASSWORD), ("a\nb", PASSWORD), ("a" * 201, PASSWORD)):
        name, password = (text.encode() for text in auth)
        assert pages.nobody.get(address, auth=(name, password)).status_code == 401
    for header in ("Basic !!!", "Basic", "Bearer x", "Basic /w=="):
        assert pages.nobody.get(address, headers={"authorization": header}).status_code == 401


def test_without_a_password_the_pages_are_off_and_the_probes_on(rig: Rig, ending: ExitStack) -> None:
    pages = Pages(rig, ending, password=None)
    answer = pages.maria.get("/")
    assert answer.status_code == 503
    assert "HASHWARDEN_REVIEW__PASSWORD" in answer.text
    assert pages.nobody.get("/health/live").json() == {"status": "live"}
    assert pages.nobody.get("/metrics").status_code == 200


@pytest.mark.parametrize("address", [*ADDRESSES, "/nowhere", "/static/pages.css", "/health/live", "/metrics"])
def test_every_answer_carries_the_headers(pages: Pages, held: int, address: str) -> None:
    answer = pages.maria.get(address)
    for name, value in HEADERS.items():
        assert answer.headers[name] == value
    assert held


@pytest.mark.parametrize("address", ADDRESSES)
def test_pages_load_nothing_from_elsewhere_and_escape_what_they_show(
    pages: Pages, held: int, address: str
) -> None:
    answer = pages.maria.get(address)
    assert answer.status_code == 200
    assert "<script" not in answer.text
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
    assert "<svg" not in pages.maria.get(f"/reviews/{review}").text
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
        assert (answer.status_code, answer.headers["location"]) == (303, f"/reviews/{review}")
    with rig.sessions() as session:
        decision = session.scalars(select(DecisionRow)).one()
        assert (decision.actor, decision.verdict, decision.reason) == (
            "maria",
            "confirmed",
            "the reported one",
        )
    assert rig.row(held).state == "removed"
    assert pages.woken == [(held, Lane.IMAGE)]
    text = pages.maria.get(f"/reviews/{review}").text
    assert "the reported one" in text
    assert "Decide again" in text


def test_a_form_of_somebody_else_or_of_another_review_decides_nothing(
    pages: Pages, rig: Rig, held: int, review: int
) -> None:
    form = pages.form(review) | {"verdict": "lawful"}
    other = pages.maria.post(f"/reviews/{review}", data=form, auth=(b"jo", PASSWORD.encode()))
    assert other.status_code == 403
    assert "Nothing was decided" in other.text
    for token in ("", "1", "1.2", "9999999999." + "0" * 64, form["token"] + "0", "x" + form["token"]):
        forged = form | {"token": token}
        assert pages.maria.post(f"/reviews/{review}", data=forged).status_code in {400, 403}
    assert pages.maria.post(f"/reviews/{review + 1}", data=form).status_code == 403
    assert rig.row(held).state == "held"


def test_a_form_lies_open_for_a_shift_only(
    pages: Pages, rig: Rig, held: int, review: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.review.doors.FORM_SECONDS", -1)
    form = pages.form(review) | {"verdict": "lawful"}
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
    assert "<h1>" in answer.text
    assert "Traceback" not in answer.text


def test_uploads_show_coverage_and_alarms(pages: Pages, held: int) -> None:
    text = pages.maria.get("/uploads").text
    assert "1 seen: 1 scanned" in text
    assert "The dispatcher has never run" in text
    assert "1 alarm" not in pages.maria.get("/uploads?state=held").text
    assert "What is wrong" in pages.maria.get("/").text
    assert held


def test_pages_are_well_formed(pages: Pages, held: int, review: int) -> None:
    for address in ("/", f"/reviews/{review}", "/uploads", f"/uploads/{held}"):
        text = pages.maria.get(address).text
        closed = re.sub(r"<(meta|link|input|br)([^>]*)>", r"<\1\2/>", text.replace("<!doctype html>", ""))
        closed = re.sub(r" (required|selected|disabled)(?=[ >])", r' \1=""', closed)
        assert ElementTree.fromstring(closed).tag == "html"  # noqa: S314 (our own pages)


def test_a_database_that_is_away_is_told(settings: Settings) -> None:
    database = load_settings(database={"url": "postgresql+psycopg://u:pw@127.0.0.1:1/x"}).database
    engine = make_engine(database)
    review = settings.review.model_copy(update={"password": SecretStr(PASSWORD)})
    app = make_app(settings.model_copy(update={"review": review}), make_sessions(engine), len)
    with served(app) as address, httpx.Client(base_url=address) as client:
        answer = client.get("/", auth=(b"maria", PASSWORD.encode()))
        assert answer.status_code == 503
        assert "The database can&#39;t be reached" in answer.text
        assert client.get("/health/ready").json()["database"] == "database"
        assert "hashwarden_database_up 0.0" in client.get("/metrics").text
    engine.dispose()
