"""Figures by the API, as JSON with units and as CSV; and what is the caller's own."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select

from tests.integration.api import Caller, caller
from tests.integration.console import Console
from tests.integration.test_desk_pages import add_review
from worker.review.figures.figures import FIGURES
from worker.review.people import people, tokens
from worker.store.audit_log import AuditEntry
from worker.store.people import Role, SignedIn

if TYPE_CHECKING:
    from tests.integration.conftest import Rig


@pytest.fixture
def console(rig: Rig) -> Iterator[Console]:
    with ExitStack() as ending:
        yield Console(rig.settings, rig.sessions, ending)


@pytest.fixture
def lead(rig: Rig, console: Console) -> Caller:
    """A lead of a desk where one review waits and one is decided."""
    add_review(rig)
    maria = caller(console, "maria", Role.REVIEWER)
    assert maria.decide(add_review(rig), "confirmed").status_code == 200
    return caller(console, "lead", Role.LEAD)


def test_every_figure_is_listed_and_read_as_json_and_csv(lead: Caller) -> None:
    listed = lead.get("/figures").json()["figures"]
    assert [each["name"] for each in listed] == list(FIGURES)
    assert all(each["allowed"] for each in listed)
    for each in listed:
        answer = lead.get(f"/figures/{each['name']}", days=7).json()
        assert (answer["days"], answer["columns"]) == (7, each["columns"])
        names = [column["name"] for column in each["columns"]]
        table = lead.get(f"/figures/{each['name']}.csv", days=7)
        assert table.headers["content-type"].startswith("text/csv")
        assert f"hashwarden-{each['name']}-7-days.csv" in table.headers["content-disposition"]
        first, *rows = csv.reader(io.StringIO(table.text))
        assert first == names
        assert len(rows) == len(answer["rows"])
        assert all(list(row) == names for row in answer["rows"])


def test_numbers_are_the_pages(lead: Caller) -> None:
    (row,) = lead.get("/figures/waiting").json()["rows"]
    assert (row["waiting"], row["in_hand"]) == (1, 0)
    decided = lead.get("/figures/decisions", days=1).json()
    assert sum(row["confirmed"] for row in decided["rows"]) == 1
    assert {column["name"]: column["unit"] for column in lead.get("/figures/views").json()["columns"]} == {
        "rung": "text",
        "views": "count",
        "views_per_100_decisions": "per_100",
        "seconds_shown": "seconds",
    }


def test_figures_of_single_persons_are_for_leads(console: Console, lead: Caller) -> None:
    auditor = caller(console, "auditor", Role.AUDITOR)
    assert [each["name"] for each in auditor.get("/figures").json()["figures"] if not each["allowed"]] == [
        "views_by_person"
    ]
    for address in ("/figures/views_by_person", "/figures/views_by_person.csv"):
        assert auditor.get(address).json()["code"] == "forbidden"
        assert lead.get(address).status_code == 200
    assert auditor.get("/figures/views").status_code == 200


def test_what_is_no_figure_and_no_period_is_told(lead: Caller) -> None:
    for address in ("/figures/nothing", "/figures/nothing.csv"):
        assert lead.get(address).json()["code"] == "not_there"
    for days in ("2", "seven", "7.5", "9" * 5000):
        assert lead.get("/figures/waiting", days=days).json()["code"] == "invalid"


def test_a_token_tells_whose_it_is(console: Console) -> None:
    platform = caller(console, "platform", Role.PLATFORM)
    assert platform.get("/me").json() == {
        "pseudonym": platform.pseudonym,
        "roles": ["platform"],
        "may": ["appeal"],
        "single_keys": True,
    }


def test_own_keys_and_sessions_and_nobody_elses(rig: Rig, console: Console) -> None:
    pseudonym, page = console.signed_in("jo", Role.REVIEWER)
    _, other = console.signed_in("ann", Role.REVIEWER)
    with rig.sessions.begin() as session:
        token, _ = tokens.add(session, people.get(session, "jo"), [Role.REVIEWER], 1, actor="test")
        mine, hers = session.scalars(select(SignedIn.id).order_by(SignedIn.id)).all()
    client = console.client()
    client.headers["authorization"] = f"Bearer {token}"
    jo = Caller(pseudonym, token, client)
    assert jo.put("/me/keys", single_keys=False).status_code == 204
    assert jo.get("/me").json()["single_keys"] is False
    assert 'data-keys="off"' in page.get("/").text
    assert jo.put("/me/keys", single_keys="no").json()["code"] == "invalid"
    assert [line["id"] for line in jo.get("/me/sessions").json()["sessions"]] == [mine]
    assert jo.delete(f"/me/sessions/{hers}").json()["code"] == "people"
    assert other.get("/me").status_code == 200
    assert jo.delete(f"/me/sessions/{mine}").status_code == 204
    assert page.get("/me").headers["location"] == "/sign-in"
    with rig.sessions() as session:
        done = session.scalars(select(AuditEntry.action).where(AuditEntry.actor == pseudonym)).all()
    assert {"person_keys", "session_revoked"} <= set(done)
