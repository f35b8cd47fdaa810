"""A picture is shown to who has the review in hand; beside that for a stated reason, which is written down."""

from __future__ import annotations

from playwright.sync_api import expect
from sqlalchemy import select

from tests.browser.desk import Desk, Person
from tests.browser.system import Held
from worker.store.audit_log import AuditEntry
from worker.store.people import Role
from worker.store.views import View

ASK = "Why you look; it is written down"


def purposes(desk: Desk, person: Person) -> list[str | None]:
    """Of each look that the audit log has of somebody, why; None for one of what they had in hand."""
    with desk.system.sessions() as session:
        entries = session.scalars(
            select(AuditEntry)
            .where(AuditEntry.actor == person.pseudonym, AuditEntry.action == "reveal")
            .order_by(AuditEntry.seq)
        )
        return [entry.details.get("purpose") for entry in entries]


def looks(desk: Desk, held: Held) -> list[int]:
    with desk.system.sessions() as session:
        return list(session.scalars(select(View.rung).where(View.review_id == held.review).order_by(View.id)))


def is_shown(person: Person, words: str) -> None:
    expect(person.page.get_by_role("status")).to_have_text(words)
    expect(person.page.locator("[data-screen] img")).to_have_count(1)


def is_refused(person: Person, words: str) -> None:
    expect(person.page.get_by_role("status")).to_contain_text(words)
    expect(person.page.locator("[data-screen] img")).to_have_count(0)


def test_who_has_not_the_review_in_hand_is_offered_no_picture_and_gets_none(desk: Desk) -> None:
    held, ann, bo = desk.system.held(), desk.person(), desk.person()
    bo.take(held)
    ann.at(held)
    expect(ann.page.get_by_text("Take the review first")).to_be_visible()
    expect(ann.page.locator("[data-reveal], .rungs")).to_have_count(0)
    for more in ({}, {"purpose": "quality"}):
        answer = ann.page.request.post(
            f"/reviews/{held.review}/reveal",
            headers={"Accept": "application/json"},
            form={"token": ann.token, "rung": "1", **more},
        )
        assert (answer.status, "Take the review first" in answer.text()) == (403, True)
    assert looks(desk, held) == []


def test_a_lead_looks_beside_for_a_reason_that_is_written_down(desk: Desk) -> None:
    held, bo, lea = desk.system.held(), desk.person(), desk.person(Role.LEAD)
    bo.take(held)
    lea.at(held)
    lea.button("Mosaic").click()
    is_refused(lea, "Choose why you look, and ask again.")
    assert looks(desk, held) == []
    lea.page.get_by_label(ASK).select_option("quality")
    lea.button("Mosaic").click()
    is_shown(lea, "Mosaic shown.")
    lea.button("Hold: the whole").focus()
    lea.page.keyboard.down("Space")
    is_shown(lea, "All of it shown.")
    lea.page.keyboard.up("Space")
    assert looks(desk, held) == [1, 4]
    assert purposes(desk, lea) == ["quality", "quality"]
    # Who has it in hand is asked nothing.
    bo.button("Mosaic").click()
    is_shown(bo, "Mosaic shown.")
    assert purposes(desk, bo) == [None]


def test_what_is_decided_is_looked_at_again_for_a_reason(desk: Desk) -> None:
    held, ann = desk.system.held(), desk.person()
    ann.decide(held, "lawful")
    ann.state_is("lawful")
    ann.page.get_by_label(ASK).select_option("request")
    ann.button("Grey thumbnail").click()
    is_shown(ann, "Grey thumbnail shown.")
    assert purposes(desk, ann) == ["request"]


def test_a_page_left_open_shows_nothing_once_the_claim_is_gone(desk: Desk) -> None:
    held, ann = desk.system.held(), desk.person()
    ann.take(held)
    desk.system.expire(held)
    ann.button("Mosaic").click()
    is_refused(ann, "Take the review first.")
    assert looks(desk, held) == []


def test_a_reason_is_given_without_script(desk: Desk) -> None:
    held, lea = desk.system.held(), desk.person(Role.LEAD, script=False)
    lea.at(held)
    # The form holds back what lacks the reason.
    lea.button("Mosaic").click()
    expect(lea.page.get_by_label(ASK)).to_be_visible()
    lea.page.get_by_label(ASK).select_option("incident")
    lea.press("Mosaic")
    expect(lea.page.get_by_alt_text("The picture under review")).to_be_visible()
    lea.page.wait_for_load_state("networkidle")
    assert purposes(desk, lea) == ["incident"]
