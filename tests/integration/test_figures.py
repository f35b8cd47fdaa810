"""Figures of a desk on which real decisions were taken: each number counted by hand."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import func, select, update

from config.policy import PolicySettings
from tests.integration.console import Console
from worker.domain import Effect, Kind, State, Verdict
from worker.media.rungs import Rung
from worker.review.desk import appeals, claims
from worker.review.desk.reviews import decide_review
from worker.review.desk.undo import undo
from worker.review.figures.figures import FIGURES, read_all
from worker.review.figures.period import Asked, Days, period_until_now
from worker.review.figures.wilson import wilson
from worker.review.people.permissions import May
from worker.store.desk import ClaimRow, ClusterRow
from worker.store.models import Content, MatchRow, Review, Upload
from worker.store.people import Person, Role
from worker.store.views import View

if TYPE_CHECKING:
    from tests.integration.conftest import Rig

CLAIMED = timedelta(seconds=60)
"""How long everybody has had a review in hand when they decide it."""


class Desk:
    """Reviews as scans leave them, without media; decided as on the pages."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.sessions = rig.sessions
        self.one: PolicySettings = rig.settings.policy
        self.two = self.one.model_validate({**self.one.model_dump(), "second_review": {"share": 1.0}})

    def add(
        self,
        distance: int,
        *banks: str,
        signal_type: str = "pdq",
        opened: timedelta = timedelta(0),
        given: timedelta = timedelta(hours=48),
    ) -> int:
        """An open review that matches an entry of each bank, opened so long ago."""
        with self.sessions.begin() as session:
            content = Content(sha256=uuid4().bytes * 2, size=1, kind=Kind.IMAGE, fingerprint=[])
            session.add(content)
            session.flush()
            moment = session.scalars(select(func.clock_timestamp())).one() - opened
            session.add(
                Upload(
                    bucket="b",
                    key=uuid4().hex,
                    version_id="v",
                    state=State.HELD,
                    content_id=content.id,
                    first_seen_at=moment - timedelta(seconds=1),
                )
            )
            for place, bank in enumerate(banks or ("stopncii",)):
                session.add(
                    MatchRow(
                        content_id=content.id,
                        entry_id=content.id * 10 + place,
                        bank=bank,
                        signal_type=signal_type,
                        distance=distance,
                        effect=Effect.SHADOW if bank == "trial" else Effect.HOLD,
                        index_epoch=1,
                    )
                )
            review = Review(
                content_id=content.id,
                cause="match",
                priority=50,
                nearest=distance,
                opened_at=moment,
                due_at=moment + given,
            )
            session.add(review)
            session.flush()
            return review.id

    def decide(
        self, review: int, actor: str, verdict: Verdict, policy: PolicySettings | None = None, *also: int
    ) -> None:
        claim = claims.take(self.sessions, review, actor)
        with self.sessions.begin() as session:
            session.execute(update(ClaimRow).values(claimed_at=ClaimRow.claimed_at - CLAIMED))
        decide_review(
            self.sessions,
            policy or self.one,
            review,
            verdict,
            actor=actor,
            request_id=uuid4().hex,
            claim=claim.token,
            also=also,
        )

    def appeal(self, review: int) -> None:
        with self.sessions() as session:
            upload = session.scalars(
                select(Upload.id)
                .join(Review, Review.content_id == Upload.content_id)
                .where(Review.id == review)
            ).one()
        appeals.open_appeal(
            self.sessions, self.rig.settings, upload, reason="that is me", actor="ops", source="api"
        )

    def look(self, review: int, actor: str, rung: Rung, seconds: float | None) -> None:
        with self.sessions.begin() as session:
            content = session.get_one(Review, review).content_id
            session.add(
                View(actor=actor, review_id=review, content_id=content, rung=rung, stills=1, seconds=seconds)
            )

    def read(self, days: Days = Days.WEEK) -> dict[str, Any]:
        clocks = {name: profile.hours for name, profile in self.rig.settings.deadlines.profiles.items()}
        shown: dict[int, float] = {1: 60.0, 2: 60.0, 3: 8.0, 4: 8.0}
        with self.sessions() as session:
            period = period_until_now(session, days)
            return dict(read_all(Asked(session, period, clocks, shown), lambda _may: True))


@pytest.fixture
def desk(rig: Rig) -> Desk:
    return Desk(rig)


@pytest.fixture
def worked(desk: Desk) -> Desk:
    """A desk after a day: eight reviews are decided, three wait."""
    plain = desk.add(4, "stopncii", "trial")
    desk.decide(plain, "maria", Verdict.CONFIRMED)
    late = desk.add(15, opened=timedelta(hours=3), given=timedelta(hours=2))
    desk.decide(late, "maria", Verdict.NOT_A_MATCH)
    desk.decide(desk.add(25, "own"), "jo", Verdict.LAWFUL)
    desk.decide(desk.add(0, signal_type="video_md5"), "jo", Verdict.SUSPECTED_MINOR)

    undone = desk.add(35, "stopncii", "own")
    desk.decide(undone, "maria", Verdict.HASH_WRONG)
    undo(desk.sessions, desk.one, undone, actor="lee", request_id=uuid4().hex, lead=True)

    agreed, disagreed = desk.add(8), desk.add(9)
    for review in (agreed, disagreed):
        desk.decide(review, "maria", Verdict.CONFIRMED, desk.two)
    desk.decide(agreed, "jo", Verdict.CONFIRMED)
    desk.decide(disagreed, "jo", Verdict.LAWFUL)
    with desk.sessions.begin() as session:
        session.add(Person(name="kim", pseudonym="kim", roles=[Role.ADJUDICATOR]))
    desk.decide(disagreed, "kim", Verdict.LAWFUL)

    for outcome in (Verdict.LAWFUL, Verdict.CONFIRMED):
        appealed = desk.add(10)
        desk.decide(appealed, "maria", Verdict.CONFIRMED)
        desk.appeal(appealed)
        desk.decide(appealed, "jo", outcome)

    desk.add(20, opened=timedelta(hours=25), given=timedelta(hours=24))
    desk.add(20, "own", opened=timedelta(hours=10), given=timedelta(hours=11, minutes=30))
    desk.look(plain, "maria", Rung.MOSAIC, 4.0)
    desk.look(plain, "maria", Rung.MOSAIC, 6.0)
    desk.look(plain, "maria", Rung.WHOLE, None)
    desk.look(late, "jo", Rung.GREY, 12.5)
    return desk


def test_what_waits(worked: Desk) -> None:
    found = worked.read()
    (all_of_it,) = found["waiting"]
    assert (all_of_it.waiting, all_of_it.in_hand, all_of_it.overdue) == (3, 1, 1)
    assert 25 * 3600 <= all_of_it.oldest_seconds < 25 * 3600 + 120
    assert 3600 <= all_of_it.most_overdue_seconds < 3600 + 120
    parts = {(row.by, row.part): (row.waiting, row.overdue) for row in found["waiting_parts"]}
    assert {key: numbers for key, numbers in parts.items() if numbers != (0, 0)} == {
        ("age", "under_1_h"): (1, 0),
        ("age", "6_to_24_h"): (1, 0),
        ("age", "24_to_48_h"): (1, 1),
        ("stage", "first"): (3, 1),
        ("bank", "own"): (2, 0),
        ("bank", "stopncii"): (2, 1),
        ("deadline", "day"): (1, 1),
        ("deadline", "default"): (1, 0),
        ("deadline", "india"): (1, 0),
    }
    left = {row.due: row.waiting for row in found["due"] if row.waiting}
    assert left == {"overdue": 1, "1_to_2_h": 1, "24_to_48_h": 1}


def test_decisions_and_those_in_time(worked: Desk) -> None:
    found = worked.read()
    assert len(found["decisions"]) == 7
    numbers = {verdict: sum(getattr(row, verdict) for row in found["decisions"]) for verdict in Verdict}
    assert numbers == {
        "confirmed": 5,
        "not_a_match": 1,
        "lawful": 3,
        "hash_wrong": 1,
        "suspected_minor": 1,
    }
    assert sum(row.undone for row in found["decisions"]) == 1
    assert sum(row.decided for row in found["in_time"]) == 8
    assert sum(row.in_time for row in found["in_time"]) == 7
    assert {row.deadline: (row.decided, row.share_in_time) for row in found["in_time_by_deadline"]} == {
        "default": (7, 1.0),
        "india": (1, 0.0),
    }


def test_how_long_it_took(worked: Desk) -> None:
    found = worked.read()
    times = {row.of: row for row in found["time_to_decision"]}
    # Maria gave seven verdicts, Jo six, Kim one; two of them are opinions that were enacted with another.
    assert {of: row.counted for of, row in times.items()} == {
        "claim_to_verdict": 14,
        "opening_to_decision": 8,
        "upload_to_decision": 6,
    }
    assert 60 <= times["claim_to_verdict"].median_seconds <= times["claim_to_verdict"].p90_seconds < 120
    assert sum(row.verdicts for row in found["decision_time"]) == 14
    assert times["upload_to_decision"].p90_seconds > 3600


def test_what_was_looked_at(worked: Desk) -> None:
    found = worked.read()
    views = {row.rung: (row.views, row.views_per_100_decisions, row.seconds_shown) for row in found["views"]}
    assert views == {
        "mosaic": (2, 200 / 11, 10.0),
        "grey": (1, 100 / 11, 12.5),
        "peek": (0, 0.0, 0.0),
        "whole": (1, 100 / 11, 8.0),
    }
    people = {row.pseudonym: row for row in found["views_by_person"]}
    assert list(people) == ["jo", "kim", "maria"]
    maria = people["maria"]
    assert (maria.verdicts, maria.mosaic, maria.grey, maria.peek, maria.whole) == (7, 2, 0, 0, 1)
    assert (maria.seconds_shown, maria.seconds_shown_sharp) == (18.0, 8.0)
    assert maria.views_per_100_verdicts == 300 / 7
    assert (people["jo"].verdicts, people["kim"].verdicts) == (6, 1)


def test_what_did_not_last(worked: Desk) -> None:
    found = {row.how: (row.overturned, row.judged, row.share) for row in worked.read()["overturns"]}
    assert found == {
        "undone_by_another": (1, 11, 1 / 11),
        "overturned_on_appeal": (1, 2, 0.5),
        "second_person_disagreed": (1, 2, 0.5),
    }


def test_precision(worked: Desk) -> None:
    found = worked.read()
    banks = {row.bank: (row.right, row.lawful, row.wrong) for row in found["precision_by_bank"]}
    assert banks == {"stopncii": (6, 2, 1), "own": (1, 1, 0)}
    stopncii = found["precision_by_bank"][1]
    share = wilson(6, 7)
    assert (stopncii.precision, stopncii.low, stopncii.high) == (share.share, share.low, share.high)
    bands = {row.distance: (row.right, row.lawful, row.wrong) for row in found["precision_by_distance"]}
    assert bands == {
        "exact": (1, 0, 0),
        "0_to_10": (5, 2, 0),
        "11_to_20": (0, 0, 1),
        "21_to_31": (1, 1, 0),
        "32_to_40": (0, 0, 0),
        "41_to_48": (0, 0, 0),
    }


def test_coverage(worked: Desk) -> None:
    (row,) = worked.read()["coverage"]
    assert (row.seen, row.scanned, row.pending, row.elsewhere) == (11, 11, 0, 0)


def test_near_copies_that_are_decided_together_are_one_verdict(desk: Desk) -> None:
    one, other = desk.add(4), desk.add(5)
    with desk.sessions.begin() as session:
        contents = session.scalars(select(Review.content_id)).all()
        session.add_all(ClusterRow(content_id=each, cluster=contents[0]) for each in contents)
    desk.decide(one, "maria", Verdict.CONFIRMED, desk.one, other)
    found = desk.read(Days.ONE)
    assert len(found["decisions"]) == 24
    assert sum(row.confirmed for row in found["decisions"]) == 2
    assert sum(row.verdicts for row in found["decision_time"]) == 1


def test_ones_own_undo_overturns_nothing_also_at_the_terminal(desk: Desk) -> None:
    review = desk.add(4)
    for undoer in ("maria", "operator:maria"):
        desk.decide(review, "maria", Verdict.LAWFUL)
        undo(desk.sessions, desk.one, review, actor=undoer, request_id=uuid4().hex, lead=True)
        with desk.sessions() as session:
            claim = claims.claim_of(session, review)
        assert claim is not None
        claims.hand_back(desk.sessions, undoer, claim.token)
    first = desk.read()["overturns"][0]
    assert (first.overturned, first.judged) == (0, 2)


def test_what_lies_before_the_period_is_not_counted(desk: Desk) -> None:
    desk.decide(desk.add(4), "maria", Verdict.CONFIRMED)
    with desk.sessions.begin() as session:
        session.execute(
            update(Review).values(
                opened_at=Review.opened_at - timedelta(days=40),
                closed_at=Review.closed_at - timedelta(days=40),
            )
        )
    month, quarter = desk.read(Days.MONTH), desk.read(Days.QUARTER)
    assert (len(month["in_time"]), len(quarter["in_time"])) == (30, 90)
    assert sum(row.decided for row in month["in_time"]) == 0
    assert sum(row.decided for row in quarter["in_time"]) == 1
    assert month["precision_by_bank"] == []


def test_an_empty_desk_has_no_shares(desk: Desk) -> None:
    found = desk.read()
    assert found["waiting"][0].oldest_seconds is None
    assert {row.share for row in found["overturns"]} == {None}
    assert {row.views_per_100_decisions for row in found["views"]} == {None}
    assert {row.median_seconds for row in found["time_to_decision"]} == {None}


class Office:
    """The console of a worked desk, and people in it."""

    def __init__(self, desk: Desk, ending: ExitStack) -> None:
        self.console = Console(desk.rig.settings, desk.sessions, ending)

    def of(self, role: Role) -> httpx.Client:
        return self.console.signed_in(f"a {role}", role)[1]


@pytest.fixture
def office(worked: Desk) -> Iterator[Office]:
    with ExitStack() as ending:
        yield Office(worked, ending)


def test_the_page_draws_each_figure_and_links_its_numbers(office: Office) -> None:
    answer = office.of(Role.LEAD).get("/figures", params={"days": 7})
    assert answer.status_code == 200
    page = answer.text
    linked = re.findall(r'href="/figures/(\w+)\.csv\?days=7"', page)
    assert sorted(linked) == sorted(FIGURES)
    assert page.count('role="img"') >= 12
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert "style=" not in page
    assert "<script" not in page
    assert "/reviews/" not in page
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("name", FIGURES)
def test_each_figure_is_csv_with_its_columns(office: Office, name: str) -> None:
    answer = office.of(Role.LEAD).get(f"/figures/{name}.csv")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/csv; charset=utf-8")
    assert answer.headers["content-disposition"] == f'attachment; filename="hashwarden-{name}-30-days.csv"'
    table = list(csv.reader(io.StringIO(answer.text, newline="")))
    assert tuple(table[0]) == FIGURES[name].columns
    assert {len(row) for row in table} == {len(table[0])}
    assert len(table) > 1


def test_only_leads_see_single_persons(office: Office) -> None:
    for role in (Role.AUDITOR, Role.ADMIN):
        client = office.of(role)
        page = client.get("/figures")
        assert page.status_code == 200
        assert "views_by_person" not in page.text
        assert "maria" not in page.text
        assert client.get("/figures/views_by_person.csv").status_code == 403
        assert client.get("/figures/views.csv").status_code == 200
    reviewer = office.of(Role.REVIEWER)
    assert reviewer.get("/figures").status_code == 403
    assert all(reviewer.get(f"/figures/{name}.csv").status_code == 403 for name in FIGURES)
    assert {figure.asks for figure in FIGURES.values()} == {May.SEE_FIGURES, May.SEE_EACH_PERSON}


def test_what_is_no_figure_and_no_period_is_said(office: Office) -> None:
    lead = office.of(Role.LEAD)
    assert lead.get("/figures/hashes.csv").status_code == 404
    assert lead.get("/figures", params={"days": 31}).status_code == 400
