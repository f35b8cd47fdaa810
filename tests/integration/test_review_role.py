"""The console under the database role `hashwarden_review`: all of it works, and what must be kept can't be touched."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING
from uuid import uuid4

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import create_engine, select, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from config.database import Sessions, make_engine, make_sessions
from config.settings import Settings
from tests.integration.console import Console, form_fields, hidden
from worker.domain import State
from worker.media.sandbox import ZygoteSandbox
from worker.review import audit, rules
from worker.review.people import people
from worker.review.reveal.reveals import Reveals
from worker.store.minor_cases import MinorCase
from worker.store.models import Demotion, Review, Upload
from worker.store.people import Role

if TYPE_CHECKING:
    from tests.integration.conftest import Rig

PASSWORD = "a long enough password"  # noqa: S105 (of a person in a test)


@pytest.fixture
def as_pages(settings: Settings) -> Iterator[Settings]:
    """Settings whose database is reached by a login of the role and nothing more."""
    url = make_url(settings.database.url.get_secret_value())
    name = f"pages_{uuid4().hex[:8]}"
    owner = create_engine(url, isolation_level="AUTOCOMMIT")
    with owner.connect() as connection:
        connection.execute(text(f"CREATE ROLE {name} LOGIN IN ROLE hashwarden_review"))
    address = url.set(username=name).render_as_string(hide_password=False)
    database = settings.database.model_copy(update={"url": SecretStr(address)})
    yield settings.model_copy(update={"database": database})
    with owner.connect() as connection:
        connection.execute(text(f"DROP ROLE {name}"))
    owner.dispose()


@pytest.fixture
def restricted(as_pages: Settings) -> Iterator[Sessions]:
    engine = make_engine(as_pages.database)
    yield make_sessions(engine)
    engine.dispose()


@pytest.fixture
def console(rig: Rig, as_pages: Settings, restricted: Sessions) -> Iterator[Console]:
    settings = rig.settings.model_copy(update={"database": as_pages.database})
    with ZygoteSandbox() as sandbox, ExitStack() as ending:
        reveals = Reveals(settings, restricted, rig.parts.store, sandbox, sandbox)
        yield Console(settings, restricted, ending, reveals)


def scanned(rig: Rig, bucket: str, seed: int) -> tuple[int, int]:
    """A held upload and its review."""
    body = rig.jpeg(rig.picture(seed))
    rig.bank_pdq(rig.hash_of(body))
    upload, state = rig.scan(bucket, f"{seed}.jpg", body)
    assert state is State.HELD
    with rig.sessions() as session:
        content = session.get_one(Upload, upload).content_id
        return upload, session.scalars(select(Review.id).where(Review.content_id == content)).one()


def press(client: httpx.Client, page: str, action: str, **more: str) -> httpx.Response:
    """Sends the form of a page with this address."""
    form = form_fields(client.get(page).text, f'action="{action}"')
    assert form, f"{page} has no form for {action}"
    answer = client.post(action, data=form | more)
    assert answer.status_code == 303, answer.text
    return answer


def decide(console: Console, client: httpx.Client, review: int, verdict: str) -> None:
    form = console.form_of(client, review) | {"verdict": verdict}
    answer = client.post(f"/reviews/{review}", data=form)
    assert answer.status_code == 303, answer.text


def test_the_whole_console_works_with_the_role_alone(
    console: Console, rig: Rig, restricted: Sessions, versioned_bucket: str
) -> None:
    upload, review = scanned(rig, versioned_bucket, 1)
    _, second = scanned(rig, versioned_bucket, 2)
    rig.with_policy(second_review={"share": 0})
    _, maria = console.signed_in("Maria", Role.REVIEWER)
    _, lea = console.signed_in("Lea", Role.LEAD, Role.ADMIN)
    mina, minas = console.signed_in("Mina", Role.MINOR_SAFETY)
    _, monas = console.signed_in("Mona", Role.MINOR_SAFETY)
    page = f"/reviews/{review}"

    # The queue, claims and their signs of life.
    for address in ("/", "/?every=true", "/?show=mine&bank=stopncii", "/uploads", f"/uploads/{upload}"):
        assert maria.get(address).status_code == 200
    press(maria, "/", "/next")
    form = console.form_of(maria, review)
    alive = maria.post(f"{page}/alive", data={"token": form["token"], "claim": form["claim"]})
    assert alive.json()["left"] > 0

    # A picture, and how long it was shown.
    asked = maria.post(
        f"{page}/reveal",
        data={"token": form["token"], "rung": "2"},
        headers={"accept": "application/json"},
    )
    shown = asked.json()["address"]
    assert maria.get(shown).status_code == 200
    covered = {"token": form["token"], "seconds": "1.5"}
    assert maria.post(f"{shown}/covered", data=covered).status_code == 204

    # Verdicts, undo, stepping back, an appeal and its decision.
    decide(console, maria, review, "lawful")
    press(maria, page, f"{page}/undo")
    press(maria, page, f"{page}/leave", how="asked")
    decide(console, lea, review, "confirmed")
    press(lea, page, f"/uploads/{upload}/appeal", reason="it is me")
    decide(console, minas, review, "lawful")
    assert rig.row(upload).state == State.RELEASED

    # Proposals.
    with rig.sessions.begin() as session:
        demotion = Demotion(entry_id=1, bank="stopncii", uploaders=30)
        session.add(demotion)
        session.flush()
        fields = {"kind": "lift_demotion", "subject_id": str(demotion.id)}
    token = hidden(maria.get("/proposals").text)["token"]
    assert maria.post("/proposals", data=fields | {"token": token}).status_code == 303
    press(lea, "/proposals", "/proposals/1/approve")

    # The rules: another start of the pages, and a change by two.
    with rig.sessions.begin() as session:
        people.add(session, "Lou", {Role.LEAD}, actor="test")
    with restricted.begin() as session:
        rules.begin(session, rig.settings.model_copy(update={"banks": {}}), service="review-app")
    assert maria.post(
        "/proposals", data={"kind": "change_rules", "subject_id": "0", "token": token}
    ).is_redirect
    press(lea, "/proposals", "/proposals/2/approve")

    # A suspected minor, from the verdict to the overturn.
    press(maria, f"/reviews/{second}", f"/reviews/{second}", verdict="suspected_minor")
    assert minas.get("/minors/1/report").status_code == 200
    press(minas, "/minors/1", "/minors/1/prolong", days="500")
    press(minas, "/minors/1", "/minors/1/reported", reference="CT-1")
    press(minas, "/minors/1", "/minors/1/overturn", reason="no minor")
    press(monas, "/minors/1", "/minors/1/overturn/3/approve")
    with restricted() as session:
        assert session.scalars(select(MinorCase.closed_by)).one() == mina

    # People, one's own page, and a sign-in by password that fails and one that does not.
    assert lea.get("/people").status_code == 200
    assert lea.get("/audit").status_code == 200
    press(maria, "/me", "/me/keys")
    with restricted.begin() as session:
        people.set_password(session, people.get(session, "lea"), PASSWORD, actor="test")
    assert console.try_password("Lea", "wrong", console.client()).status_code == 401
    entered = console.client()
    assert console.try_password("Lea", PASSWORD, entered).status_code == 303
    press(entered, "/me", "/sign-out")
    with restricted() as session:
        assert audit.verify_log(session, []).fault is None


KEPT = (
    "UPDATE audit_log SET action = ''",
    "DELETE FROM audit_log",
    "UPDATE views SET actor = ''",
    "UPDATE views SET seconds = NULL",
    "DELETE FROM views",
    "UPDATE minor_cases SET preserve_until = clock_timestamp()",
    "UPDATE minor_cases SET facts = '{}'",
    "UPDATE minor_cases SET opened_by = ''",
    "DELETE FROM minor_cases",
    "UPDATE minor_files SET copied_at = NULL",
    "DELETE FROM minor_files",
    "TRUNCATE minor_cases, minor_files",
    "DELETE FROM uploads",
    "DELETE FROM reviews",
    "DELETE FROM contents",
    "UPDATE decisions SET actor = ''",
    "DELETE FROM people",
    "UPDATE rulesets SET approved_by = ''",
    "DELETE FROM rulesets",
    "TRUNCATE rulesets",
    "ALTER TABLE minor_cases DISABLE TRIGGER kept",
    "DROP TRIGGER kept ON minor_files",
)


def test_the_role_can_not_touch_what_is_kept(
    console: Console, rig: Rig, restricted: Sessions, versioned_bucket: str
) -> None:
    _, review = scanned(rig, versioned_bucket, 1)
    _, maria = console.signed_in("Maria", Role.REVIEWER)
    page = f"/reviews/{review}"
    form = console.form_of(maria, review)
    asked = maria.post(
        f"{page}/reveal",
        data={"token": form["token"], "rung": "1"},
        headers={"accept": "application/json"},
    )
    assert maria.get(asked.json()["address"]).status_code == 200
    assert maria.post(page, data=form | {"verdict": "suspected_minor"}).status_code == 303
    for statement in KEPT:
        with pytest.raises(DBAPIError, match=r"permission denied|must be owner|append-only|kept|not changed"):
            _run(restricted, statement)


def _run(sessions: Sessions, statement: str) -> None:
    with sessions.begin() as session:
        session.execute(text(statement))
