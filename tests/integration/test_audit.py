"""The audit log in the database: what is written and in which order, and that no change of it is overlooked."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from pydantic import SecretStr
from sqlalchemy import create_engine, func, select, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, InternalError, ProgrammingError

from config.database import Sessions, make_engine, make_sessions
from config.settings import Settings
from worker.cli import cli
from worker.demo.embedded import Embedded
from worker.review import audit
from worker.review.audit_verify import Head, Verdict, verify_export
from worker.store import migrate
from worker.store.audit_log import AuditEntry, AuditHead


@pytest.fixture
def sessions(settings: Settings) -> Iterator[Sessions]:
    engine = make_engine(settings.database)
    yield make_sessions(engine)
    engine.dispose()


@pytest.fixture
def environment(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HASHWARDEN_DATABASE__URL", settings.database.url.get_secret_value())


def run(*arguments: object, code: int = 0) -> Result:
    done = CliRunner().invoke(cli, list(map(str, arguments)))
    assert done.exit_code == code, done.output
    return done


def write(sessions: Sessions, number: int) -> None:
    for place in range(number):
        with sessions.begin() as session:
            details: dict[str, audit.Detail] = {"moved": place, "words": ["ä", "\u2028"], "done": True}
            audit.record(
                session, actor="reviewer-7f3a", action="look", subject=("review", 7), details=details
            )


def verified(sessions: Sessions, *noted: Head) -> Verdict:
    with sessions() as session:
        return audit.verify_log(session, list(noted))


def forge(settings: Settings, statement: str) -> None:
    """As somebody who owns the table and puts its trigger out of force."""
    engine = create_engine(settings.database.url.get_secret_value())
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        connection.execute(text(statement))
    engine.dispose()


def test_an_entry_is_written_with_what_it_tells_or_not_at_all(sessions: Sessions) -> None:
    assert verified(sessions) == Verdict(Head(0, "0" * 64), None)
    write(sessions, 3)
    with sessions() as session:
        audit.record(session, actor="reviewer-7f3a", action="look")
        session.rollback()
    head, fault, _ = verified(sessions)
    assert (head.seq, fault) == (3, None)


def test_entries_of_many_at_once_have_one_order(sessions: Sessions) -> None:
    ready = threading.Barrier(8)

    def one(_: int) -> None:
        ready.wait()
        write(sessions, 5)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(one, range(8)))
    head, fault, _ = verified(sessions)
    assert (head.seq, fault) == (40, None)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_log SET action = 'nothing' WHERE seq = 1",
        "DELETE FROM audit_log",
        "TRUNCATE audit_log",
        "UPDATE audit_log SET action = 'nothing' WHERE false",
    ],
)
def test_the_database_refuses_a_change(sessions: Sessions, statement: str) -> None:
    write(sessions, 2)
    with pytest.raises((InternalError, ProgrammingError, DBAPIError)), sessions.begin() as session:
        session.execute(text(statement))
    assert verified(sessions).fault is None


@pytest.mark.parametrize(
    ("statement", "seq"),
    [
        ("UPDATE audit_log SET action = 'nothing' WHERE seq = 3", 3),
        ("UPDATE audit_log SET actor = '' WHERE seq = 1", 1),
        ("UPDATE audit_log SET at = at + interval '1 microsecond' WHERE seq = 5", 5),
        ("UPDATE audit_log SET details = details || '{\"moved\": 99}' WHERE seq = 2", 2),
        ("UPDATE audit_log SET details = '{}' WHERE seq = 4", 4),
        ("UPDATE audit_log SET hash = set_byte(hash, 0, get_byte(hash, 0) # 1) WHERE seq = 2", 2),
        ("UPDATE audit_log SET previous = hash WHERE seq = 4", 4),
        ("DELETE FROM audit_log WHERE seq = 1", 1),
        ("DELETE FROM audit_log WHERE seq = 3", 3),
        ("DELETE FROM audit_log WHERE seq = 5", 5),
        ("DELETE FROM audit_log", 1),
        ("UPDATE audit_log SET seq = CASE seq WHEN 2 THEN 4 ELSE 2 END WHERE seq IN (2, 4)", 2),
        ("UPDATE audit_head SET seq = 4", 5),
        ("UPDATE audit_head SET hash = set_byte(hash, 0, get_byte(hash, 0) # 1)", 5),
        ("DELETE FROM audit_head", 1),
        (
            """INSERT INTO audit_log SELECT 6, at, actor, action, subject_kind, subject_id, details, hash,
            set_byte(hash, 0, get_byte(hash, 0) # 1) FROM audit_log WHERE seq = 5""",
            6,
        ),
    ],
)
def test_every_change_is_found(
    settings: Settings, sessions: Sessions, environment: None, statement: str, seq: int
) -> None:
    write(sessions, 5)
    forge(settings, "ALTER TABLE audit_log DROP CONSTRAINT pk_audit_log")
    forge(settings, statement)
    fault = verified(sessions).fault
    assert fault is not None
    assert fault.seq == seq
    assert f"Entry {seq}: " in run("audit", "verify", code=1).stderr
    assert environment is None


def test_a_head_noted_down_finds_what_was_cut_off(
    settings: Settings, sessions: Sessions, environment: None
) -> None:
    write(sessions, 5)
    said = run("audit", "verify").stdout
    noted = said.split()[-1]
    assert said == f"5 entries are unchanged. Head {noted}\n"
    write(sessions, 1)
    run("audit", "verify", "--head", noted)
    # The end is cut off, and the head moved to where it ends now.
    forge(settings, "DELETE FROM audit_log WHERE seq > 3")
    forge(settings, "UPDATE audit_head SET (seq, hash) = (SELECT seq, hash FROM audit_log WHERE seq = 3)")
    assert verified(sessions).fault is None
    assert "Entry 4: it is missing" in run("audit", "verify", "--head", noted, code=1).stderr
    assert run("audit", "verify", "--head", "nonsense", code=2)
    assert environment is None


def test_an_export_is_an_entry_and_verifies_by_itself(
    sessions: Sessions, environment: None, tmp_path: Path
) -> None:
    write(sessions, 3)
    file = tmp_path / "audit.jsonl"
    assert run("audit", "export", file).stdout.startswith(f"4 entries are in {file}. Head 4:")
    with file.open("rb") as lines:
        head, fault, _ = verify_export(lines)
    assert (head.seq, fault) == (4, None)
    entries = [json.loads(line) for line in file.read_text().splitlines()]
    assert entries[3]["action"] == "export"
    assert entries[3]["actor"].startswith("operator:")
    assert file.stat().st_mode & 0o077 == 0
    assert "Name a file that does not exist." in run("audit", "export", file, code=1).stderr
    assert environment is None


def test_the_restricted_role_writes_entries_and_can_not_change_them(
    settings: Settings, sessions: Sessions
) -> None:
    write(sessions, 2)
    url = make_url(settings.database.url.get_secret_value())
    owner = create_engine(url)
    with owner.begin() as connection:
        name = f"pages_{connection.scalar(select(func.pg_backend_pid()))}"
        connection.execute(text(f"CREATE ROLE {name} LOGIN IN ROLE hashwarden_review"))
    with ExitStack() as ending:
        ending.callback(_drop, owner.dispose, settings, name)
        engine = create_engine(url, isolation_level="READ COMMITTED")
        ending.callback(engine.dispose)

        def as_pages(statement: str) -> None:
            with engine.begin() as connection:
                connection.execute(text(f"SET LOCAL SESSION AUTHORIZATION {name}"))
                connection.execute(text(statement))

        for statement in (
            "UPDATE audit_log SET action = 'nothing'",
            "DELETE FROM audit_log",
            "TRUNCATE audit_log",
            "DELETE FROM audit_head",
            "ALTER TABLE audit_log DISABLE TRIGGER append_only",
            "DROP TRIGGER append_only ON audit_log",
            "DROP TABLE audit_log",
            "SET LOCAL session_replication_role = replica",
            "UPDATE decisions SET actor = ''",
        ):
            with pytest.raises(ProgrammingError):
                as_pages(statement)
        with sessions.begin() as session:
            session.execute(text(f"SET LOCAL SESSION AUTHORIZATION {name}"))
            audit.record(session, actor="reviewer-7f3a", action="look")
    head, fault, _ = verified(sessions)
    assert (head.seq, fault) == (3, None)


def test_an_owner_that_is_no_superuser_migrates_and_writes(embedded: Embedded, settings: Settings) -> None:
    name = "plain_owner"
    url = make_url(embedded.postgres.create_database(name))
    admin = create_engine(url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE ROLE {name} LOGIN"))
        connection.execute(text(f"ALTER DATABASE {name} OWNER TO {name}"))
        connection.execute(text(f"ALTER SCHEMA public OWNER TO {name}"))
    address = url.set(username=name).render_as_string(hide_password=False)
    engine = make_engine(settings.database.model_copy(update={"url": SecretStr(address)}))
    try:
        migrate.upgrade(address)
        sessions = make_sessions(engine)
        write(sessions, 2)
        for statement in ("UPDATE audit_log SET action = ''", "DELETE FROM audit_log", "TRUNCATE audit_log"):
            with pytest.raises(ProgrammingError, match="permission denied"), sessions.begin() as session:
                session.execute(text(statement))
        assert verified(sessions).fault is None
    finally:
        engine.dispose()
        with admin.connect() as connection:
            connection.execute(text(f"DROP OWNED BY {name} CASCADE"))
        admin.dispose()
        embedded.postgres.drop_database(name)
        after = create_engine(settings.database.url.get_secret_value(), isolation_level="AUTOCOMMIT")
        with after.connect() as connection:
            connection.execute(text(f"DROP ROLE {name}"))
        after.dispose()


def _drop(dispose: Callable[[], None], settings: Settings, name: str) -> None:
    engine = create_engine(settings.database.url.get_secret_value())
    with engine.begin() as connection:
        connection.execute(text(f"DROP ROLE {name}"))
    engine.dispose()
    dispose()


def test_the_head_is_one_row(sessions: Sessions) -> None:
    with sessions() as session:
        assert session.scalar(select(func.count()).select_from(AuditHead)) == 1
        assert session.scalar(select(func.count()).select_from(AuditEntry)) == 0
