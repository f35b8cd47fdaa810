"""One walk through the console that comes by every page in every state it has.

Who walks along is called at each with the page as it stands: to measure it, or to take its picture.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from playwright.sync_api import Page, expect

from tests.browser.desk import Desk, Person
from tests.browser.past import work_behind
from tests.browser.system import HARD_LOOKS, SECOND_OVER, SOFT_LOOKS, Held
from tests.integration.test_rules import changed
from worker.demo import media
from worker.review import rules
from worker.review.desk.rule_proposals import propose_rules
from worker.review.people import entrance, people
from worker.store.models import Demotion
from worker.store.people import Role

Look = Callable[[str, Page], None]
"""Is told a state's name, of STATES, and the page that is in it."""

STATES = (
    "sign-in-first",
    "sign-in",
    "sign-in-refused",
    "sign-in-link",
    "me",
    "queue-empty",
    "proposals-empty",
    "minors-empty",
    "figures-empty",
    "queue",
    "queue-part-empty",
    "review-open",
    "review-claimed",
    "review-taken",
    "review-gone",
    "review-refused",
    "review-purpose",
    "review-purpose-missing",
    "review-mosaic",
    "review-grey",
    "review-region",
    "review-break-due",
    "review-covered",
    "break",
    "review-shown",
    "review-decided",
    "queue-undo",
    "review-video",
    "review-unscannable",
    "review-waits",
    "review-second",
    "review-adjudication",
    "review-appeal-form",
    "review-appeal",
    "review-typed",
    "proposals",
    "queue-all",
    "audit",
    "minors",
    "review-minor",
    "minor-case",
    "minor-case-reported",
    "minor-case-overturn",
    "minor-case-closed",
    "uploads",
    "uploads-none",
    "upload",
    "people",
    "problem-denied",
    "problem-missing",
    "figures",
    "figures-numbers",
    "figures-of-all",
)
"""In the order in which the walk comes by."""


class Team(NamedTuple):
    """Who works at the console."""

    ann: Person
    bo: Person
    lea: Person
    mina: Person
    ada: Person
    odo: Person


def walk(desk: Desk, look: Look) -> None:
    """Comes by every state of STATES. The system must be fresh: nobody has come in and nothing is uploaded."""
    _doors(desk, look)
    team = Team(
        ann=desk.person(name="Ann Example"),
        bo=desk.person(name="Bo Example"),
        lea=desk.person(Role.LEAD, Role.ADJUDICATOR, name="Lea Example"),
        mina=desk.person(Role.MINOR_SAFETY, name="Mina Example"),
        ada=desk.person(Role.ADMIN, name="Ada Example"),
        odo=desk.person(Role.AUDITOR, name="Odo Example"),
    )
    _queue(desk, look, team)
    _reveal(desk, look, team)
    _several_people(desk, look, team)
    _proposals(desk, look, team)
    _minors(desk, look, team)
    _office(look, team)
    _figures(desk, look, team)


def _doors(desk: Desk, look: Look) -> None:
    page = desk.browser().new_page()
    page.goto("/sign-in")
    look("sign-in-first", page)
    with desk.system.sessions.begin() as session:
        person = people.add(session, "Cy Example", [Role.REVIEWER], actor="operator:host")
        people.set_password(session, person, "correct horse battery", actor="operator:host")
        link = entrance.make_link(session, person, 15, actor="operator:host")
    page.goto("/sign-in")
    look("sign-in", page)
    page.get_by_label("Name").fill("Cy Example")
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_be_visible()
    look("sign-in-refused", page)
    page.goto(f"/sign-in/link/{link}")
    look("sign-in-link", page)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Open reviews")).to_be_visible()
    page.goto("/me")
    look("me", page)


def _queue(desk: Desk, look: Look, team: Team) -> None:
    system, ann, bo = desk.system, team.ann, team.bo
    ann.page.goto("/")
    look("queue-empty", ann.page)
    team.lea.page.goto("/proposals")
    look("proposals-empty", team.lea.page)
    team.mina.page.goto("/minors")
    look("minors-empty", team.mina.page)
    team.lea.page.goto("/figures")
    look("figures-empty", team.lea.page)
    first = system.held(distance=2, folder="u1", copies=2)
    system.near(first)
    passed = ((6, 1.02), (0, 0.96), (12, 0.85), (18, 0.6), (24, 0.3))
    for number, (distance, share) in enumerate(passed, start=2):
        system.aged(system.held(distance=distance, folder=f"u{number}"), share)
    system.region(system.held(distance=14, bank="own", folder="u7"))
    bo.take(system.held(distance=8, folder="u8"))
    ann.page.goto("/")
    look("queue", ann.page)
    ann.page.goto("/?show=appeals")
    look("queue-part-empty", ann.page)
    ann.at(first)
    look("review-open", ann.page)
    ann.take(first)
    look("review-claimed", ann.page)
    bo.at(first)
    look("review-taken", bo.page)
    _gone(desk, look, team, first)


def _gone(desk: Desk, look: Look, team: Team, held: Held) -> None:
    """Somebody else takes what a page left open still shows."""
    left = team.ann.page
    desk.system.expire(held)
    team.bo.take(held)
    left.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(team.ann.button("Decide Enter")).to_be_disabled()
    look("review-gone", left)
    left.locator("input[value=lawful]").check()
    with left.expect_navigation():
        left.evaluate("document.getElementById('verdicts').submit()")
    look("review-refused", left)
    team.bo.press("Hand back")


def _reveal(desk: Desk, look: Look, team: Team) -> None:
    system, ann = desk.system, team.ann
    held = system.region(system.held(distance=10, folder="u9"))
    ann.take(held)
    _purpose(look, team, held)
    said = ann.page.get_by_role("status")
    ann.button("Mosaic").click()
    expect(said).to_have_text("Mosaic shown.")
    look("review-mosaic", ann.page)
    ann.button("Grey thumbnail").click()
    expect(said).to_have_text("Grey thumbnail shown.")
    look("review-grey", ann.page)
    for number in range(1, HARD_LOOKS + 1):
        ann.button("Hold: matched region" if number == 1 else "Hold: the whole").focus()
        ann.page.keyboard.down("Space")
        expect(ann.page.locator("[data-screen] img")).to_have_count(1)
        if number == 1:
            look("review-region", ann.page)
        with ann.page.expect_request("**/covered"):
            ann.page.keyboard.up("Space")
        if number == SOFT_LOOKS:
            ann.at(held)
            look("review-break-due", ann.page)
    ann.at(held)
    look("review-covered", ann.page)
    ann.page.goto("/break")
    look("break", ann.page)
    ann.at(held)
    with ann.page.expect_navigation():
        ann.page.evaluate(
            "() => { const form = document.querySelector('form.rungs');"
            " form.requestSubmit(form.querySelector('button')); }"
        )
    look("review-shown", ann.page)
    ann.at(held)
    ann.say("confirmed")
    look("review-decided", ann.page)
    ann.page.goto("/")
    look("queue-undo", ann.page)
    bridge = media.photo("bridge")
    system.rig.bank_pdq(system.rig.hash_of(media.encoded(bridge)))
    body = media.film(media.pan(media.photo("wine"), 2.0), media.still(bridge, 2.0))
    film = system.scanned(body, folder="u10", ending="mp4")
    team.bo.take(film)
    team.bo.button("Grey thumbnail").click()
    expect(team.bo.page.get_by_role("status")).to_have_text("Grey thumbnail shown.")
    look("review-video", team.bo.page)
    cut = media.encoded(media.photo("fjord"), "PNG")[:4_000]
    team.bo.at(system.scanned(cut, folder="u11", ending="png"))
    look("review-unscannable", team.bo.page)


def _purpose(look: Look, team: Team, held: Held) -> None:
    """A lead looks at what somebody else has in hand."""
    lea = team.lea
    lea.at(held)
    look("review-purpose", lea.page)
    lea.button("Mosaic").click()
    expect(lea.page.get_by_role("status")).to_contain_text("Choose why you look")
    look("review-purpose-missing", lea.page)


def _several_people(desk: Desk, look: Look, team: Team) -> None:
    system, ann, bo = desk.system, team.ann, team.bo
    held = system.held(distance=SECOND_OVER + 5, folder="u12")
    ann.decide(held, "confirmed")
    look("review-waits", ann.page)
    bo.take(held)
    look("review-second", bo.page)
    bo.say("lawful")
    team.lea.take(held)
    look("review-adjudication", team.lea.page)
    team.lea.say("confirmed")
    team.lea.page.get_by_text("Open an appeal by hand").click()
    look("review-appeal-form", team.lea.page)
    team.lea.page.get_by_label("What the person who appeals says").fill("I am in it, and I agreed to it.")
    team.lea.press("Open the appeal")
    team.mina.take(held)
    look("review-appeal", team.mina.page)
    team.mina.press("Hand back")


def _proposals(desk: Desk, look: Look, team: Team) -> None:
    many = desk.system.held(distance=3, folder="u13", copies=26)
    team.mina.take(many)
    look("review-typed", team.mina.page)
    team.mina.page.get_by_label("Type the number of uploads").fill("26")
    team.mina.page.locator("input[value=not_a_match]").check()
    team.mina.press("Decide Enter")
    with desk.system.sessions.begin() as session:
        session.add(Demotion(entry_id=1, bank="stopncii", uploaders=31))
        settings = rules.begin(session, desk.system.rig.settings, service="worker")
        stricter = changed(settings, radius=28)
        propose_rules(session, stricter.rules, actor=team.ada.pseudonym, source="page")
    team.lea.page.goto("/proposals")
    look("proposals", team.lea.page)
    team.lea.page.goto("/?every=true")
    look("queue-all", team.lea.page)
    team.odo.page.goto("/audit")
    look("audit", team.odo.page)


def _minors(desk: Desk, look: Look, team: Team) -> None:
    bo, mina, mona = team.bo, team.mina, desk.person(Role.MINOR_SAFETY, name="Mona Example")
    held = desk.system.held(distance=5, folder="u14")
    bo.take(held)
    bo.button("Mosaic").click()
    expect(bo.page.get_by_role("status")).to_have_text("Mosaic shown.")
    bo.say("suspected_minor")
    mina.page.goto("/minors")
    look("minors", mina.page)
    mina.at(held)
    look("review-minor", mina.page)
    case = desk.system.case(held)
    mina.page.goto(case)
    look("minor-case", mina.page)
    mina.page.get_by_label("Reference that the authority gave").fill("2026-0417")
    mina.press("It is reported")
    mina.page.get_by_text("Preserve it for longer").click()
    look("minor-case-reported", mina.page)
    mina.page.get_by_label("Reason").fill("The bank's entry is of an adult: the authority says so.")
    mina.press("Propose to overturn it")
    mona.page.goto(case)
    look("minor-case-overturn", mona.page)
    mona.press("Approve the overturn")
    look("minor-case-closed", mona.page)


def _office(look: Look, team: Team) -> None:
    bo = team.bo.page
    bo.goto("/uploads")
    look("uploads", bo)
    bo.goto("/uploads?state=gone")
    look("uploads-none", bo)
    bo.goto("/uploads/1")
    look("upload", bo)
    team.ada.page.goto("/people")
    look("people", team.ada.page)
    bo.goto("/people")
    look("problem-denied", bo)
    bo.goto("/nowhere")
    look("problem-missing", bo)


def _figures(desk: Desk, look: Look, team: Team) -> None:
    """The newest hours are those of this walk; the month before them is made up."""
    lea, odo = team.lea.page, team.odo.page
    work_behind(
        desk.system.sessions, [person.pseudonym for person in (team.ann, team.bo, team.lea, team.mina)]
    )
    lea.goto("/figures")
    look("figures", lea)
    lea.evaluate("document.querySelectorAll('details.numbers').forEach(at => { at.open = true; })")
    look("figures-numbers", lea)
    odo.goto("/figures?days=90")
    look("figures-of-all", odo)
