"""Rules change by two persons: what one person writes into the files changes nothing until another one approves it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result
from pydantic import SecretStr
from sqlalchemy import func, select, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError
from structlog.testing import capture_logs

from bank_sync.epoch import read_pointer
from config.database import make_engine, make_sessions
from config.errors import DatabaseError, SettingsError
from config.policy import BankSettings
from config.settings import Settings, load_settings
from tests.integration.console import Console
from tests.integration.test_proposals import post
from worker.cli import cli
from worker.domain import State
from worker.operate.alarms.alarm import AlarmCode
from worker.operate.doctor import examine
from worker.operate.health import alarms
from worker.review import rules
from worker.review.desk import proposals
from worker.review.desk.rule_proposals import propose_rules
from worker.review.faults import ProposalError
from worker.review.people import people, tokens
from worker.review.people.permissions import ALLOWED, May
from worker.store.audit_log import AuditEntry
from worker.store.models import Upload
from worker.store.people import Role
from worker.store.proposals import Proposal
from worker.store.rulesets import APPROVERS, RulesetRow, settings_in_force

if TYPE_CHECKING:
    from tests.integration.conftest import Rig


@pytest.fixture
def team(rig: Rig) -> tuple[str, str]:
    """Two persons who may approve, and rules that were in force before."""
    with rig.sessions.begin() as session:
        maria = people.add(session, "Maria", {Role.LEAD}, actor="test").pseudonym
        jo = people.add(session, "Jo", {Role.ADMIN}, actor="test").pseudonym
    start(rig, rig.settings)
    return maria, jo


def start(rig: Rig, files: Settings, service: str = "worker") -> Settings:
    """What a service would run with that starts with these files; the rig scans with it from now on."""
    with rig.sessions.begin() as session:
        settings = rules.begin(session, files, service=service)
    rig.settings = rig.parts.settings = settings
    rig.stages = rig.parts.stages(lambda _: None)
    return settings


def changed(settings: Settings, *, radius: int | None = None, **banks: BankSettings | None) -> Settings:
    """Files that differ in these; None takes a bank out."""
    policy = settings.policy
    if radius is not None:
        default = policy.default.model_copy(update={"radius": radius, "review_radius": radius})
        policy = policy.model_copy(update={"default": default})
    kept = {name: bank for name, bank in (settings.banks | banks).items() if bank is not None}
    return settings.model_copy(update={"policy": policy, "banks": kept})


def agree(rig: Rig, files: Settings, team: tuple[str, str]) -> None:
    """One proposes the rules of these files and the other one approves them."""
    with rig.sessions.begin() as session:
        made = propose_rules(session, files.rules, actor=team[0], source="page")
        proposals.approve(session, files.policy, made.id, actor=team[1])


def raised(rig: Rig, settings: Settings) -> list[str]:
    """The next step of each alarm about the rules, for a process that runs with these settings."""
    with rig.sessions() as session:
        found = alarms(session, settings, lambda: read_pointer(settings.epochs_dir))
    return [alarm.next_step for alarm in found if alarm.code is AlarmCode.RULES_UNAPPROVED]


def rows(rig: Rig) -> list[RulesetRow]:
    with rig.sessions() as session:
        return list(session.scalars(select(RulesetRow).order_by(RulesetRow.id)))


def actions(rig: Rig) -> list[tuple[str, str]]:
    with rig.sessions() as session:
        query = (
            select(AuditEntry.actor, AuditEntry.action)
            .where(AuditEntry.subject_kind == "ruleset")
            .order_by(AuditEntry.seq)
        )
        return [(actor, action) for actor, action in session.execute(query)]


def flipped(signal: bytes, bits: int) -> bytes:
    """The signal with so many of its bits turned over."""
    return (int.from_bytes(signal, "big") ^ ((1 << bits) - 1)).to_bytes(len(signal), "big")


def test_a_wider_radius_counts_once_two_agreed(
    rig: Rig, team: tuple[str, str], versioned_bucket: str
) -> None:
    first, second = (rig.jpeg(rig.picture(seed)) for seed in (1, 2))
    for body in (first, second):
        rig.bank_pdq(flipped(rig.hash_of(body), 44))
    before = rig.settings.policy.revision
    wide = changed(rig.settings, radius=48)

    with capture_logs() as logs:
        running = start(rig, wide)
    assert [line["event"] for line in logs] == ["rules_unapproved"]
    assert running.policy.revision == before
    upload, state = rig.scan(versioned_bucket, "1.jpg", first)
    assert (state, rig.row(upload).policy_revision) == (State.CLEAR, before)
    assert "hashwarden rules propose" in raised(rig, running)[0]

    agree(rig, wide, team)
    assert "Start the services again" in raised(rig, running)[0]
    with capture_logs() as logs:
        running = start(rig, wide)
    assert [line["event"] for line in logs] == ["rules_approved"]
    upload, state = rig.scan(versioned_bucket, "2.jpg", second)
    assert (state, rig.row(upload).policy_revision) == (State.HELD, wide.policy.revision)
    assert raised(rig, running) == []
    assert [(row.proposed_by, row.approved_by) for row in rows(rig)] == [(None, None), team]
    assert actions(rig) == [("service:worker", "rules_approved"), (team[1], "rules_approved")]


def test_a_bank_goes_off_once_two_agreed(rig: Rig, team: tuple[str, str], versioned_bucket: str) -> None:
    bodies = [rig.jpeg(rig.picture(seed)) for seed in (1, 2, 3)]
    for body in bodies:
        rig.bank_pdq(rig.hash_of(body))
    bank = rig.settings.banks["stopncii"]
    off = changed(rig.settings, stopncii=bank.model_copy(update={"enabled": False}))
    out = changed(rig.settings, stopncii=None)

    for key, body, files in (("off.jpg", bodies[0], off), ("out.jpg", bodies[1], out)):
        start(rig, files)
        assert rig.scan(versioned_bucket, key, body)[1] is State.HELD
    agree(rig, out, team)
    start(rig, out)
    assert rig.scan(versioned_bucket, "agreed.jpg", bodies[2])[1] is State.CLEAR


def test_how_a_bank_is_reached_stays_as_approved_and_its_keys_are_of_the_files(
    rig: Rig, team: tuple[str, str]
) -> None:
    elsewhere = BankSettings.model_validate(
        {"exchange": "stopncii", "base_url": "https://elsewhere.example", "fetch_key": "new", "timeout": 7}
    )
    new = BankSettings.model_validate({"exchange": "file", "path": "/banks/new.txt"})
    files = changed(rig.settings, stopncii=elsewhere, new=new)
    found = start(rig, files).banks
    assert found["stopncii"].base_url == rig.settings.banks["stopncii"].base_url
    assert found["stopncii"].fetch_key == elsewhere.fetch_key
    assert found["stopncii"].timeout == 7
    assert not found["new"].enabled
    agree(rig, files, team)
    assert start(rig, files) is files


def test_what_is_approved_counts_for_files_that_are_behind(rig: Rig, team: tuple[str, str]) -> None:
    old, new = rig.settings, changed(rig.settings, radius=20)
    agree(rig, new, team)
    running = start(rig, old)
    assert running.policy == new.policy
    assert running.unapproved is not None
    agree(rig, old, team)
    assert start(rig, old) is old


@pytest.mark.parametrize("role", [Role.REVIEWER, Role.ADJUDICATOR, Role.AUDITOR, Role.PLATFORM])
def test_in_a_small_team_the_files_count_and_it_is_written_down(rig: Rig, role: Role) -> None:
    with rig.sessions.begin() as session:
        people.add(session, "Maria", {Role.LEAD, Role.ADMIN}, actor="test")
        people.add(session, "Jo", {role}, actor="test")
        gone = people.add(session, "Kim", {Role.LEAD}, actor="test")
        people.disable(session, gone, actor="test")
    first, second = rig.settings, changed(rig.settings, radius=20)
    for files in (first, first, second, first):
        assert start(rig, files, "dispatch") is files
        assert raised(rig, files) == []
    assert [row.revision for row in rows(rig)] == [
        first.rules.revision,
        second.rules.revision,
        first.rules.revision,
    ]
    assert actions(rig) == [("service:dispatch", "rules_approved")] * 3
    with rig.sessions.begin() as session:
        people.enable(session, people.get(session, "Kim"), actor="test")
    assert start(rig, second).policy == first.policy


def test_the_first_start_of_a_team_takes_the_files(rig: Rig) -> None:
    with rig.sessions.begin() as session:
        for name in ("Maria", "Jo"):
            people.add(session, name, {Role.LEAD}, actor="test")
    assert start(rig, rig.settings) is rig.settings
    assert [(row.proposed_by, row.approved_by) for row in rows(rig)] == [(None, None)]


def test_services_that_start_at_once_write_the_files_down_once(rig: Rig) -> None:
    def begin(service: int) -> None:
        with rig.sessions.begin() as session:
            rules.begin(session, rig.settings, service=f"s{service}")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(begin, range(8)))
    assert len(rows(rig)) == 1


@pytest.mark.usefixtures("team")
def test_a_setting_that_an_update_adds_is_no_change(rig: Rig) -> None:
    with rig.sessions.begin() as session:
        content = session.scalars(select(RulesetRow.content)).one()
        before = {name: value for name, value in content["policy"].items() if name != "preserve_days"}
        row = RulesetRow(revision="0" * 12, content={**content, "policy": before})
        session.add(row)
    assert start(rig, rig.settings) is rig.settings
    assert raised(rig, rig.settings) == []


@pytest.mark.usefixtures("team")
def test_rules_of_another_version_end_the_start(rig: Rig) -> None:
    with rig.sessions.begin() as session:
        content = session.scalars(select(RulesetRow.content)).one()
        later = {**content, "policy": {**content["policy"], "of_later": 1}}
        session.add(RulesetRow(revision="0" * 12, content=later, proposed_by="a", approved_by="b"))
    with pytest.raises(SettingsError, match=r"policy\.of_later.*version that ran before"):
        start(rig, rig.settings)
    assert "version that ran before" in raised(rig, rig.settings)[0]
    assert len(rows(rig)) == 2
    failed = [check for check in examine(rig.settings) if check.part == "rules"]
    assert [(check.status, "of_later" in check.detail) for check in failed] == [("fail", True)]


def test_a_deadline_that_the_approved_rules_name_stays(rig: Rig, team: tuple[str, str]) -> None:
    profiles = rig.settings.deadlines.profiles
    named = rig.settings.banks["stopncii"].model_copy(update={"deadline": "law"})
    with_law = rig.settings.deadlines.model_copy(
        update={"profiles": {**profiles, "law": profiles["default"]}}
    )
    files = changed(rig.settings, stopncii=named).model_copy(update={"deadlines": with_law})
    agree(rig, files, team)
    with pytest.raises(SettingsError, match="bank stopncii names the deadline 'law'"):
        start(rig, rig.settings)


def test_without_a_database_nothing_starts(settings: Settings) -> None:
    nowhere = settings.database.model_copy(
        update={"url": SecretStr("postgresql+psycopg://nobody@127.0.0.1:1/none")}
    )
    engine = make_engine(nowhere)
    with pytest.raises(DatabaseError):
        settings_in_force(make_sessions(engine), settings)
    engine.dispose()


def test_the_approvers_are_those_of_the_permissions() -> None:
    assert set(APPROVERS) == {role for role, may in ALLOWED.items() if May.APPROVE in may}


@pytest.mark.usefixtures("team")
def test_the_database_keeps_what_was_approved(rig: Rig) -> None:
    for statement in (
        "UPDATE rulesets SET revision = ''",
        "DELETE FROM rulesets WHERE id = 0",
        "TRUNCATE rulesets",
    ):
        with (
            pytest.raises(DBAPIError, match=r"append-only|permission denied"),
            rig.sessions.begin() as session,
        ):
            session.execute(text(statement))
    for proposed, approved in (("a", "a"), ("a", None), (None, "a")):
        row = RulesetRow(revision="", content={}, proposed_by=proposed, approved_by=approved)
        with pytest.raises(IntegrityError, match=r"two_persons|both"), rig.sessions.begin() as session:
            session.add(row)


def test_nobody_approves_their_own_and_one_change_waits_at_a_time(rig: Rig, team: tuple[str, str]) -> None:
    first, second = changed(rig.settings, radius=20), changed(rig.settings, radius=10)
    with rig.sessions.begin() as session:
        made = propose_rules(session, first.rules, actor=team[0], source="page").id
    with pytest.raises(ProposalError, match="can't approve it"), rig.sessions.begin() as session:
        proposals.approve(session, rig.settings.policy, made, actor=team[0])
    with pytest.raises(ProposalError, match="proposed already"), rig.sessions.begin() as session:
        propose_rules(session, second.rules, actor=team[1], source="page")
    with rig.sessions.begin() as session:
        session.execute(update(Proposal).values(expires_at=func.clock_timestamp()))
    with pytest.raises(ProposalError, match="does not wait any more"), rig.sessions.begin() as session:
        proposals.approve(session, rig.settings.policy, made, actor=team[1])
    agree(rig, second, team)
    assert start(rig, first).policy == second.policy


def test_a_proposal_that_was_overtaken_is_not_approved(rig: Rig, team: tuple[str, str]) -> None:
    wide = changed(rig.settings, radius=20)
    with rig.sessions.begin() as session:
        made = propose_rules(session, wide.rules, actor=team[0], source="page").id
        people.disable(session, people.get(session, team[1]), actor="test")
    start(rig, changed(rig.settings, radius=10))
    with pytest.raises(ProposalError, match="since this was proposed"), rig.sessions.begin() as session:
        proposals.approve(session, rig.settings.policy, made, actor="reviewer-ffff")


@pytest.fixture
def console(rig: Rig, team: tuple[str, str]) -> Iterator[Console]:  # noqa: ARG001 (rules of before)
    with ExitStack() as ending:
        yield Console(start(rig, changed(rig.settings, radius=20), "review-app"), rig.sessions, ending)


def test_the_api_proposes_and_approves_too(console: Console, rig: Rig) -> None:
    callers = []
    for name, role in (("Maria M", Role.REVIEWER), ("Jo J", Role.LEAD)):
        with console.sessions.begin() as session:
            person = people.add(session, name, {role}, actor="test")
            token, _ = tokens.add(session, person, {role}, 1, actor="test")
        callers.append(console.client())
        callers[-1].headers["Authorization"] = f"Bearer {token}"
    maria, jo = callers
    said = ["policy.default.radius: 31 becomes 20", "policy.default.review_radius: 40 becomes 20"]
    (offered,) = maria.get("/api/v1/proposals").json()["proposable"]
    assert offered["changes"] == said
    asked = {"kind": offered["kind"], "subject_id": offered["subject_id"]}
    made = maria.post("/api/v1/proposals", json=asked).json()["id"]
    found = jo.get("/api/v1/proposals").json()
    assert (found["waiting"][0]["changes"], found["proposable"]) == (said, [])
    assert jo.post(f"/api/v1/proposals/{made}/approve").json() == {"moved": 0}
    assert rows(rig)[-1].content["policy"]["default"]["radius"] == 20


def test_the_page_says_what_changes_and_two_do_it(console: Console, rig: Rig) -> None:
    maria, marias = console.signed_in("Maria M", Role.REVIEWER)
    jo, jos = console.signed_in("Jo J", Role.LEAD)
    said = "policy.default.radius: 31 becomes 20"
    assert said in marias.get("/proposals").text
    assert post(marias, "/proposals", kind="change_rules", subject_id=0) == 303
    assert post(jos, "/proposals", kind="change_rules", subject_id=0) == 409
    page = jos.get("/proposals").text
    assert said in page
    assert "What could be proposed" not in page
    with console.sessions() as session:
        made = session.scalars(select(Proposal.id)).one()
    assert post(marias, f"/proposals/{made}/approve") == 403
    assert post(jos, f"/proposals/{made}/approve") == 303
    assert (rows(rig)[-1].proposed_by, rows(rig)[-1].approved_by) == (maria, jo)
    assert "Start the services again" in raised(rig, console.settings)[0]
    assert "What could be proposed" not in jos.get("/proposals").text
    assert "rules approved" in jos.get("/audit").text


Run = Callable[..., Result]


@pytest.fixture
def run(
    environment: dict[str, str],  # noqa: ARG001 (the settings of the commands)
    monkeypatch: pytest.MonkeyPatch,
) -> Run:
    monkeypatch.setenv("HASHWARDEN_BANKS__STOPNCII__EXCHANGE", "stopncii")
    return lambda *arguments: CliRunner().invoke(cli, arguments)


def test_the_commands_show_and_propose(
    run: Run, rig: Rig, team: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("rules", "diff").output == "The files say what is approved.\n"
    assert "by the files alone" in run("rules", "show").output
    monkeypatch.setenv("HASHWARDEN_POLICY__DEFAULT__RADIUS", "20")
    monkeypatch.setenv("HASHWARDEN_BANKS__STOPNCII__ENABLED", "false")
    told = [json.loads(line) for line in run("rules", "diff", "--json").output.splitlines()]
    assert told == [
        {"setting": "banks.stopncii.enabled", "before": "true", "after": "false"},
        {"setting": "policy.default.radius", "before": "31", "after": "20"},
    ]
    assert "`hashwarden rules diff` lists" in run("rules", "show").output
    assert json.loads(run("bank", "status", "--json").output)["banks"][1]["enabled"] is True

    assert run("rules", "propose", "--as", "Nobody").exit_code == 1
    with rig.sessions.begin() as session:
        people.add(session, "Ada", {Role.AUDITOR}, actor="test")
    assert "may not propose" in run("rules", "propose", "--as", "Ada").output
    proposed = run("rules", "propose", "--as", "maria")
    assert proposed.output == "Proposal 1 waits: another person approves it on the page /proposals.\n"
    with rig.sessions.begin() as session:
        proposals.approve(session, rig.settings.policy, 1, actor=team[1])
    shown = json.loads(run("rules", "show", "--json").output)
    assert (shown["proposed_by"], shown["approved_by"]) == team
    assert shown["revision"] == shown["files"]
    assert "say what is approved already" in run("rules", "propose", "--as", "maria").output
    assert json.loads(run("bank", "status", "--json").output)["banks"][1]["enabled"] is False


def test_without_a_second_person_there_is_nothing_to_propose(run: Run, rig: Rig) -> None:
    with rig.sessions.begin() as session:
        people.add(session, "Maria", {Role.LEAD}, actor="test")
    assert "No rules are in force yet" in run("rules", "propose", "--as", "maria").output
    start(rig, rig.settings)
    assert "Fewer than two persons may approve" in run("rules", "propose", "--as", "maria").output


def test_a_service_starts_with_the_approved_rules_and_a_sync_reads_the_approved_file(
    run: Run, rig: Rig, team: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    approved, other = tmp_path / "approved.txt", tmp_path / "other.txt"
    for path, hashes in ((approved, 2), (other, 5)):
        path.write_text("".join(f"pdq {number + 1:064x}\n" for number in range(hashes)))
    monkeypatch.setenv("HASHWARDEN_BANKS__LIST__EXCHANGE", "file")
    monkeypatch.setenv("HASHWARDEN_BANKS__LIST__PATH", str(approved))
    agree(rig, load_settings(), team)
    in_force = load_settings().policy.revision

    monkeypatch.setenv("HASHWARDEN_BANKS__LIST__PATH", str(other))
    monkeypatch.setenv("HASHWARDEN_BANKS__LIST__ENABLED", "false")
    monkeypatch.setenv("HASHWARDEN_POLICY__DEFAULT__RADIUS", "48")
    monkeypatch.setenv("HASHWARDEN_BANKS__NEW__EXCHANGE", "file")
    monkeypatch.setenv("HASHWARDEN_BANKS__NEW__PATH", str(other))
    synced = run("bank", "sync", "list", "new")
    assert synced.stdout.splitlines()[0].startswith("list: 1 pages, 2 new")
    assert "new: nothing to sync" in synced.stdout
    assert run("sweep", "--recent").exit_code == 0
    with rig.sessions() as session:
        started = session.scalars(
            select(AuditEntry.details).where(AuditEntry.action == "service_started")
        ).one()
    assert started["policy"] == in_force


@pytest.mark.usefixtures("team")
def test_every_command_decides_by_the_rules_in_force(
    run: Run, rig: Rig, versioned_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = rig.jpeg(rig.picture(1))
    rig.bank_pdq(rig.hash_of(body))
    upload, _ = rig.scan(versioned_bucket, "a.jpg", body)
    monkeypatch.setenv("HASHWARDEN_POLICY__REMOVAL_DELAY", "0")
    assert run("decide", "1", "confirmed", "--as", "maria").exit_code == 0
    with rig.sessions() as session:
        row = session.get_one(Upload, upload)
        assert row.purge_at is not None
        left = session.scalar(select(row.purge_at > func.clock_timestamp()))
        assert left
