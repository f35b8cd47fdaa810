"""The desk over HTTP: claims that race, forms without the script, what is blind and what is restricted."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import func, select, update

from tests.integration.test_review_pages import Pages
from worker.domain import Effect, Kind, State
from worker.review import audit
from worker.store.audit_log import AuditEntry
from worker.store.desk import ClaimRow
from worker.store.models import Content, DecisionRow, MatchRow, Review, Upload
from worker.store.people import Role

if TYPE_CHECKING:
    from tests.integration.conftest import Rig


@pytest.fixture
def ending() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def add_review(rig: Rig, uploads: int = 1, bank: str = "stopncii") -> int:
    """A review as a scan leaves it, without media."""
    with rig.sessions.begin() as session:
        content = Content(sha256=uuid4().bytes * 2, size=1, kind=Kind.IMAGE, fingerprint=[])
        session.add(content)
        session.flush()
        session.add_all(
            Upload(bucket="b", key=uuid4().hex, version_id="v", state=State.HELD, content_id=content.id)
            for _ in range(uploads)
        )
        match = {"content_id": content.id, "entry_id": content.id, "bank": bank, "signal_type": "pdq"}
        session.add(MatchRow(**match, distance=4, effect=Effect.HOLD, index_epoch=1))
        review = Review(content_id=content.id, cause="match", priority=50, nearest=4)
        session.add(review)
        session.flush()
        return review.id


@pytest.fixture
def pages(rig: Rig, ending: ExitStack) -> Pages:
    return Pages(rig, ending)


def decide(pages: Pages, client: httpx.Client, review: int, verdict: str, **more: str) -> httpx.Response:
    """Takes a review and sends its form, as a browser without the script does."""
    page = f"/reviews/{review}"
    pages.press(page, "take", client)
    fields = pages.fields(page, f'action="{page}" id="verdicts"', client)
    return client.post(page, data=fields | {"verdict": verdict} | more)


def test_people_who_press_next_at_once_never_get_the_same_review(rig: Rig, pages: Pages) -> None:
    reviews = {add_review(rig) for _ in range(5)}
    people = [pages.person(f"p{number}") for number in range(8)]
    tokens = [pages.fields("/", 'action="/next"', person) for person in people]
    with ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(lambda each: each[0].post("/next", data=each[1]), zip(people, tokens, strict=True))
        )
    went = Counter(answer.headers["location"] for answer in answers)
    assert went.pop("/") == 3
    assert went == Counter(f"/reviews/{review}" for review in reviews)


def test_a_claim_that_changed_hands_decides_nothing_over_http(rig: Rig, pages: Pages) -> None:
    review = add_review(rig)
    pseudonym, jo = pages.signed_in("jo", Role.REVIEWER)
    old = pages.form(review)
    with rig.sessions.begin() as session:
        session.execute(update(ClaimRow).values(lease_until=func.clock_timestamp()))
    assert decide(pages, jo, review, "lawful").status_code == 303
    answer = pages.maria.post(f"/reviews/{review}", data=old | {"verdict": "confirmed"})
    assert answer.status_code == 409
    assert "not in your hands" in answer.text
    with rig.sessions() as session:
        assert session.scalars(select(DecisionRow.actor)).all() == [pseudonym]


def test_one_form_sent_by_many_at_once_decides_once(rig: Rig, pages: Pages) -> None:
    review = add_review(rig)
    form = pages.form(review) | {"verdict": "lawful"}
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: pages.maria.post(f"/reviews/{review}", data=form), range(6)))
    assert {answer.status_code for answer in answers} == {303}
    with rig.sessions() as session:
        assert len(session.scalars(select(DecisionRow)).all()) == 1


def test_a_sign_of_life_says_how_long_the_claim_lasts(rig: Rig, pages: Pages) -> None:
    review = add_review(rig)
    form = pages.form(review)
    body = {"token": form["token"], "claim": form["claim"]}
    assert pages.maria.post(f"/reviews/{review}/alive", data=body).json()["left"] > 290
    body["claim"] = str(uuid4())
    assert pages.maria.post(f"/reviews/{review}/alive", data=body).json() == {"left": 0.0}


@pytest.mark.parametrize("how", ["back", "recused", "asked", "skipped"])
def test_every_way_of_giving_back_ends_the_claim(rig: Rig, pages: Pages, how: str) -> None:
    review = add_review(rig)
    form = pages.form(review)
    body = {"token": form["token"], "claim": form["claim"], "how": how}
    assert pages.maria.post(f"/reviews/{review}/leave", data=body).headers["location"] == "/#next"
    with rig.sessions() as session:
        assert session.scalars(select(ClaimRow)).all() == []
    offered = pages.press("/", "/next").headers["location"]
    assert offered == (f"/reviews/{review}" if how == "back" else "/")


def test_who_takes_reviews_of_one_bank_goes_on_with_that_bank(rig: Rig, pages: Pages) -> None:
    first = add_review(rig, bank="own")
    add_review(rig)
    second = add_review(rig, bank="own")
    at = pages.press("/?bank=own", "/next").headers["location"]
    assert at == f"/reviews/{first}?bank=own"
    form = pages.fields(at, f'action="/reviews/{first}/leave" data-key="0"')
    at = pages.maria.post(f"/reviews/{first}/leave", data=form).headers["location"]
    assert at == f"/reviews/{second}?bank=own"
    form = pages.fields(at, f'action="/reviews/{second}" id="verdicts"') | {"verdict": "lawful"}
    at = pages.maria.post(f"/reviews/{second}", data=form).headers["location"]
    assert at == f"/reviews/{second}?bank=own#next"
    # The first one was skipped, and the other is of another bank.
    assert pages.press(at, "/next").headers["location"] == "/?bank=own"


def test_what_somebody_has_in_hand_shows_no_form_to_decide(rig: Rig, pages: Pages) -> None:
    review = add_review(rig)
    pages.form(review)
    text = pages.person("jo").get(f"/reviews/{review}").text
    assert "Somebody has it in hand" in text
    assert 'id="verdicts"' not in text
    assert pages.pseudonym not in text


def test_the_second_person_sees_neither_verdict_nor_name(rig: Rig, ending: ExitStack) -> None:
    rig.with_policy(second_review={"share": 1})
    pages = Pages(rig, ending)
    review = add_review(rig)
    decide(pages, pages.maria, review, "lawful", reason="my words")
    pseudonym, jo = pages.signed_in("jo", Role.REVIEWER)
    pages.press(f"/reviews/{review}", "take", jo)
    text = jo.get(f"/reviews/{review}").text
    assert "Decide as the second person" in text
    for hidden in (pages.pseudonym, "my words", '<span class="state lawful">'):
        assert hidden not in text
    decide(pages, jo, review, "confirmed")
    third = pages.person("kim").get(f"/reviews/{review}").text
    assert "confirmed and lawful" in third
    for hidden in (pages.pseudonym, pseudonym, "my words"):
        assert hidden not in third


def test_a_suspected_minor_is_in_no_list_but_the_restricted_one(rig: Rig, pages: Pages) -> None:
    review = add_review(rig)
    with rig.sessions() as session:
        upload = session.scalars(select(Upload.id)).one()
    page = f"/reviews/{review}"
    fields = pages.fields(page, f'action="{page}"', pages.maria)
    assert (
        pages.maria.post(page, data=fields | {"verdict": "suspected_minor"}).headers["location"] == "/#next"
    )
    for address in (page, f"/uploads/{upload}"):
        assert pages.maria.get(address).status_code == 404
    assert pages.maria.get("/minors").status_code == 403
    for address in ("/?every=true", "/uploads"):
        assert f"/{review}" not in re.sub(
            r"<form.*?</form>", "", pages.maria.get(address).text, flags=re.DOTALL
        )
    mina = pages.person("mina", Role.MINOR_SAFETY)
    assert page in mina.get("/minors").text
    assert mina.get(page).status_code == 200
    assert mina.get(f"/uploads/{upload}").status_code == 200
    # Who decided it takes it back no more than anybody else alone.
    token = pages.fields("/", 'action="/sign-out"', pages.maria)["token"]
    answer = pages.maria.post(f"{page}/undo", data={"token": token, "request_id": "one"})
    assert answer.status_code == 404
    assert "/undo" not in pages.maria.get("/").text
    assert rig.row(upload).state == "held"


def test_a_lead_undoes_what_another_decided_and_others_do_not(rig: Rig, pages: Pages) -> None:
    review = add_review(rig)
    decide(pages, pages.maria, review, "lawful")
    jo, lea = pages.person("jo"), pages.person("lea", Role.LEAD)
    page = f"/reviews/{review}"
    assert pages.fields(page, "/undo", jo) == {}
    assert pages.press(page, "undo", lea).status_code == 303
    with rig.sessions() as session:
        assert session.get_one(Review, review).state == "open"


def test_a_blast_over_25_is_typed(rig: Rig, pages: Pages) -> None:
    review = add_review(rig, uploads=30)
    answer = decide(pages, pages.maria, review, "lawful")
    assert answer.status_code == 409
    assert "This decides 30 uploads" in answer.text
    assert "Type the number of uploads, 30" in pages.maria.get(f"/reviews/{review}").text
    assert decide(pages, pages.maria, review, "confirmed", typed="30").status_code == 303


def test_an_appeal_is_opened_by_hand_and_decided_by_another(rig: Rig, pages: Pages) -> None:
    review = add_review(rig)
    decide(pages, pages.maria, review, "confirmed")
    with rig.sessions() as session:
        upload = session.scalars(select(Upload.id)).one()
    answer = pages.press(f"/reviews/{review}", f"/uploads/{upload}/appeal", reason="that is me")
    assert answer.status_code == 303
    assert "that is me" in pages.maria.get(f"/reviews/{review}").text
    assert "for somebody else" in pages.press(f"/reviews/{review}", "take").text
    assert "1" in re.findall(r'appeals <span class="count">(\d+)', pages.maria.get("/").text)
    jo = pages.person("jo")
    assert decide(pages, jo, review, "lawful").status_code == 303
    assert rig.row(upload).state == "released"


def test_parts_of_the_queue_have_counts(rig: Rig, pages: Pages) -> None:
    mine = add_review(rig)
    add_review(rig)
    pages.form(mine)
    text = pages.maria.get("/").text
    found = dict(re.findall(r'aria-label="Part.*?|>([a-z ]+) <span class="count">(\d+)', text))
    assert (found["all open"], found["waiting"], found["mine"]) == ("2", "1", "1")
    assert found["stopncii"] == "2"
    only = pages.maria.get("/?show=mine&bank=stopncii&cause=match").text
    assert len(re.findall(r">Review \d+</a>", only)) == 1
    assert "in this part of the queue" in pages.maria.get("/?bank=other").text


def test_all_that_is_done_at_the_desk_is_in_the_audit_log(rig: Rig, pages: Pages) -> None:
    review = add_review(rig)
    page = f"/reviews/{review}"
    pages.press(page, "take")
    form = pages.fields(page, f'action="{page}" id="verdicts"')
    body = {"token": form["token"], "claim": form["claim"]}
    pages.maria.post(f"{page}/leave", data=body | {"how": "back"})
    decide(pages, pages.maria, review, "lawful")
    pages.press(page, "undo")
    decide(pages, pages.maria, review, "confirmed")
    with rig.sessions() as session:
        upload = session.scalars(select(Upload.id)).one()
    pages.press(page, f"/uploads/{upload}/appeal", reason="that is me")
    lee = pages.person("Lee", Role.LEAD)
    pages.press(page, "take", lee)
    form = pages.fields(page, f'action="{page}" id="verdicts"', lee)
    body = {"token": form["token"], "claim": form["claim"]}
    lee.post(f"{page}/leave", data=body | {"how": "recused"})
    with rig.sessions() as session:
        done = session.scalars(
            select(AuditEntry.action)
            .where(AuditEntry.subject_kind == "review", AuditEntry.action != "look")
            .order_by(AuditEntry.seq)
        ).all()
    with rig.sessions() as session:
        assert audit.verify_log(session, []).fault is None
    assert done == [
        "claim",
        "hand_back",
        "claim",
        "decision",
        "undo",
        "decision",
        "appeal",
        "claim",
        "recusal",
    ]
