"""`hashwarden people`: from nobody to somebody who is signed in, and out again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import select

from config.database import Sessions, make_engine, make_sessions
from config.settings import Settings
from tests.integration.console import Console, hidden
from worker.cli import cli
from worker.store.audit_log import AuditEntry
from worker.store.people import Person

PASSWORD = "correct horse battery"  # noqa: S105 (of this test)


@pytest.fixture
def sessions(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sessions]:
    monkeypatch.setenv("HASHWARDEN_DATABASE__URL", settings.database.url.get_secret_value())
    monkeypatch.setenv("HASHWARDEN_REVIEW__URL", "https://review.example/")
    engine = make_engine(settings.database)
    yield make_sessions(engine)
    engine.dispose()


def run(*arguments: object, code: int = 0, given: str | None = None) -> Result:
    done = CliRunner().invoke(cli, ["people", *map(str, arguments)], input=given)
    assert done.exit_code == code, done.output
    return done


def test_from_nobody_to_somebody_and_out_again(settings: Settings, sessions: Sessions) -> None:
    assert "people add NAME" in run("list").stdout
    assert run("sessions").stdout == "Nobody is signed in.\n"
    made = json.loads(run("add", "Maria Lopez", "--role", "lead", "--json").stdout)
    pseudonym = made["pseudonym"]
    assert "already" in run("add", "maria lopez", "--role", "lead", code=1).stderr
    assert "12 to 256" in run("password", "Maria Lopez", code=1, given="short\n").stderr
    assert run("password", pseudonym, given=f"{PASSWORD}\n").stdout == f"{pseudonym} has a new password.\n"
    with sessions() as session:
        stored = session.scalars(select(Person.password_hash)).one()
    assert stored is not None
    assert stored.startswith("$argon2id$")
    with ExitStack() as ending:
        console = Console(settings, sessions, ending)
        maria = console.nobody
        assert console.try_password("Maria Lopez", PASSWORD).status_code == 303
        (line,) = map(json.loads, run("sessions", "--json").stdout.splitlines())
        assert (line["pseudonym"], line["way"]) == (pseudonym, "password")
        run("revoke", line["id"])
        assert maria.get("/").status_code == 303
        assert "no open session" in run("revoke", line["id"], code=1).stderr
        address = run("link", "Maria Lopez", "--minutes", 1).stdout.strip()
        assert address.startswith("https://review.example/sign-in/link/")
        form = hidden(maria.get(address.removeprefix("https://review.example")).text)
        assert maria.post("/sign-in/link", data=form).status_code == 303
        assert maria.get("/people").status_code == 403
        assert run("roles", pseudonym, "admin", "auditor").stdout == f"{pseudonym} is now: admin, auditor.\n"
        assert maria.get("/people").status_code == 200
        assert run("revoke", "--all", "Maria Lopez").stdout == "1 session is ended.\n"
        assert maria.get("/people").status_code == 303
        assert "signed out" in run("disable", "Maria Lopez").stdout
        assert console.try_password("Maria Lopez", PASSWORD).status_code == 401
        assert "is disabled" in run("link", pseudonym, code=1).stderr
        run("enable", pseudonym)
        assert console.try_password("Maria Lopez", PASSWORD).status_code == 303
    assert "Maria Lopez" in run("list").stdout
    with sessions() as session:
        entries = session.scalars(select(AuditEntry).order_by(AuditEntry.seq)).all()
    written = json.dumps([[entry.actor, entry.subject_id, entry.details] for entry in entries])
    assert "Lopez" not in written
    assert {entry.action for entry in entries} >= {
        "person_added",
        "person_password",
        "person_roles",
        "person_disabled",
        "person_enabled",
        "link_made",
        "sign_in",
        "sign_in_failed",
        "session_revoked",
        "sessions_revoked",
    }


def test_what_is_not_there_is_one_sentence(sessions: Sessions) -> None:
    for command in ("disable", "enable", "link"):
        assert run(command, "nobody", code=1).stderr.startswith("Error: There is no person nobody.")
    run("revoke", code=2)
    run("add", "Maria", code=2)
    run("add", "Maria", "--role", "king", code=2)
    assert sessions


def test_a_token_from_made_to_revoked(settings: Settings, sessions: Sessions) -> None:
    assert run("token", "list").stdout == "There are no tokens.\n"
    pseudonym = json.loads(run("add", "Bot", "--role", "platform", "--role", "lead", "--json").stdout)[
        "pseudonym"
    ]
    assert "has not the role auditor" in run("token", "add", "bot", "--role", "auditor", code=1).stderr
    assert "is none of" in run("token", "add", "bot", "--role", "king", code=2).stderr
    run("token", "add", "bot", code=2)
    run("token", "add", "bot", "--role", "lead", "--days", "400", code=2)
    made = json.loads(run("token", "add", "bot", "--role", "lead", "--days", "3", "--json").stdout)
    plain = run("token", "add", "bot", "--role", "platform").stdout.strip()
    assert {made["token"][:3], plain[:3]} == {"hw_"}
    lines = [json.loads(line) for line in run("token", "list", "--json").stdout.splitlines()]
    assert [(line["pseudonym"], line["roles"], line["used_at"]) for line in lines] == [
        (pseudonym, ["platform"], None),
        (pseudonym, ["lead"], None),
    ]
    with ExitStack() as ending:
        client = Console(settings, sessions, ending).client()
        lead = {"authorization": f"Bearer {made['token']}"}
        assert client.get("/api/v1/audit", headers=lead).status_code == 200
        assert client.get("/api/v1/appeals/1", headers=lead).status_code == 404
        platform = {"authorization": f"Bearer {plain}"}
        assert client.get("/api/v1/audit", headers=platform).status_code == 403
        assert run("token", "revoke", made["id"]).stdout == f"Token {made['id']} works no more.\n"
        assert client.get("/api/v1/audit", headers=lead).status_code == 401
        assert "no token" in run("token", "revoke", made["id"], code=1).stderr
        run("disable", "bot")
        assert client.get("/api/v1/appeals/1", headers=platform).status_code == 401
        run("enable", "bot")
        assert client.get("/api/v1/appeals/1", headers=platform).status_code == 401
    with sessions() as session:
        entries = session.scalars(select(AuditEntry).order_by(AuditEntry.seq)).all()
        actions = [entry.action for entry in entries if entry.subject_kind == "token"]
        assert actions == ["token_added", "token_added", "token_revoked"]
        assert not [entry for entry in entries if plain in str(entry.details)]
        (disabled,) = [entry for entry in entries if entry.action == "person_disabled"]
        assert disabled.details == {"tokens": 1}
