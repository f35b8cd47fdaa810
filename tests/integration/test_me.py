"""A person's own page: shortcuts of one key, their own sessions, their own password."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest
from sqlalchemy import select

from config.database import Sessions, make_engine, make_sessions
from config.settings import Settings
from tests.integration.console import Console, form_fields
from worker.review.people import people
from worker.store.audit_log import AuditEntry
from worker.store.people import Role, SignedIn

OLD, NEW = "the old password", "the new password"


@pytest.fixture
def sessions(settings: Settings) -> Iterator[Sessions]:
    engine = make_engine(settings.database)
    yield make_sessions(engine)
    engine.dispose()


@pytest.fixture
def console(settings: Settings, sessions: Sessions) -> Iterator[Console]:
    with ExitStack() as ending:
        yield Console(settings, sessions, ending)


def press(client: httpx.Client, action: str, **fields: str) -> httpx.Response:
    form = form_fields(client.get("/me").text, f'action="{action}"')
    return client.post(action, data=form | fields)


def entered(console: Console, password: str) -> httpx.Client:
    client = console.client()
    assert console.try_password("Maria", password, client).status_code == 303
    return client


@pytest.fixture
def maria(console: Console, sessions: Sessions) -> httpx.Client:
    """Maria by her password; she is signed in by a link as well."""
    console.signed_in("Maria", Role.REVIEWER)
    with sessions.begin() as session:
        people.set_password(session, people.get(session, "maria"), OLD, actor="test")
    return entered(console, OLD)


def test_shortcuts_of_one_key_are_turned_off_and_on(console: Console, maria: httpx.Client) -> None:
    assert "data-keys" not in maria.get("/").text
    assert press(maria, "/me/keys").headers["location"] == "/me"
    assert '<body data-keys="off">' in maria.get("/").text
    # It is the person's, not the browser's.
    assert '<body data-keys="off">' in entered(console, OLD).get("/").text
    press(maria, "/me/keys", single_keys="true")
    assert "data-keys" not in maria.get("/").text


def test_own_sessions_are_listed_and_ended_and_nobody_elses(
    console: Console, sessions: Sessions, maria: httpx.Client
) -> None:
    other = entered(console, OLD)
    _, jo = console.signed_in("Jo", Role.REVIEWER)
    with sessions() as session:
        *_, marias, others, jos = session.scalars(select(SignedIn.id).order_by(SignedIn.id)).all()
    page = maria.get("/me").text
    assert f"/me/sessions/{others}/end" in page
    assert f"/me/sessions/{jos}/end" not in page
    form = form_fields(page, f"/me/sessions/{others}/end")
    assert maria.post(f"/me/sessions/{jos}/end", data=form).status_code == 409
    assert jo.get("/me").status_code == 200
    assert press(maria, f"/me/sessions/{others}/end").status_code == 303
    assert other.get("/me").headers["location"] == "/sign-in"
    assert press(maria, f"/me/sessions/{marias}/end").status_code == 303
    assert maria.get("/me").headers["location"] == "/sign-in"


def test_a_new_password_needs_the_old_one_and_ends_all_sessions(
    console: Console, sessions: Sessions, maria: httpx.Client
) -> None:
    other = entered(console, OLD)
    assert press(maria, "/me/password", old="not the old one", new=NEW).status_code == 409
    assert press(maria, "/me/password", old="", new=NEW).status_code == 409
    assert press(maria, "/me/password", old=OLD, new="short").status_code == 409
    assert press(maria, "/me/password", old=OLD, new=NEW).headers["location"] == "/sign-in"
    for client in (maria, other):
        assert client.get("/me").headers["location"] == "/sign-in"
    assert console.try_password("Maria", OLD, console.client()).status_code == 401
    entered(console, NEW)
    with sessions() as session:
        done = session.scalars(select(AuditEntry.action).order_by(AuditEntry.seq)).all()
    assert done.count("person_password") == 2
    assert done.count("sign_in_failed") == 3


def test_an_open_page_is_no_way_to_guess_the_password(maria: httpx.Client) -> None:
    statuses = [
        press(maria, "/me/password", old=f"a guess {number}", new=NEW).status_code for number in range(11)
    ]
    assert statuses == [409] * 10 + [429]


def test_who_came_by_a_link_chooses_a_first_password(console: Console) -> None:
    _, jo = console.signed_in("Jo", Role.REVIEWER)
    assert 'name="old"' not in jo.get("/me").text
    assert press(jo, "/me/password", new=NEW).headers["location"] == "/sign-in"
    assert console.try_password("Jo", NEW, console.client()).status_code == 303
