"""Pictures by the API: the same rungs, addresses, ledger and limits as on the pages."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from PIL import Image
from sqlalchemy import select

from tests.integration.api import caller
from tests.integration.console import Console
from tests.integration.test_reveal import held_picture
from worker.media.rungs import Rung
from worker.media.sandbox import ZygoteSandbox
from worker.review.reveal.reveals import Reveals
from worker.store.audit_log import AuditEntry
from worker.store.people import Role
from worker.store.views import View

if TYPE_CHECKING:
    from tests.integration.conftest import Rig


@pytest.fixture
def console(rig: Rig) -> Iterator[Console]:
    with ZygoteSandbox() as sandbox, ExitStack() as ending:
        exposure = rig.settings.exposure.model_copy(update={"soft_looks_hour": 1, "hard_looks_hour": 2})
        settings = rig.settings.model_copy(update={"exposure": exposure})
        reveals = Reveals(settings, rig.sessions, rig.parts.store, sandbox, sandbox)
        yield Console(settings, rig.sessions, ending, reveals)


def test_the_ladder_by_the_api(rig: Rig, console: Console, versioned_bucket: str) -> None:
    review = held_picture(rig, versioned_bucket)
    maria, jo = (caller(console, name, Role.REVIEWER) for name in ("maria", "jo"))
    seen = maria.get(f"/reviews/{review}").json()
    assert (seen["pictures"], seen["reveal_needs"]) == (True, "claim")
    refused = maria.post(f"/reviews/{review}/reveal", rung="mosaic", purpose="advice")
    assert (refused.status_code, refused.json()["code"]) == (403, "reveal")
    assert "in hand" in refused.json()["detail"]
    maria.claim(review)
    assert maria.get(f"/reviews/{review}").json()["reveal_needs"] == "nothing"

    def ask(rung: str, **more: str) -> str:
        answer = maria.post(f"/reviews/{review}/reveal", rung=rung, **more)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["address"])

    address = ask("mosaic")
    assert jo.get(f"/reveal/{address}").json()["code"] == "reveal"
    picture = maria.get(f"/reveal/{address}")
    assert (picture.headers["content-type"], picture.headers["cache-control"]) == ("image/png", "no-store")
    assert max(Image.open(io.BytesIO(picture.content)).size) == 16
    again = maria.get(f"/reveal/{address}")
    assert (again.status_code, again.json()["code"]) == (410, "reveal")
    assert maria.post(f"/reveal/{address}/covered", seconds=0.01).status_code == 204

    assert maria.post(f"/reviews/{review}/reveal", rung="peek", region="cell-0").status_code == 400
    for _ in range(2):
        whole = maria.get(f"/reveal/{ask('whole')}")
        assert max(Image.open(io.BytesIO(whole.content)).size) == 1024
    refused = maria.post(f"/reviews/{review}/reveal", rung="whole")
    assert (refused.status_code, refused.json()["code"]) == (429, "reveal")
    exposure = maria.get("/exposure").json()
    assert (exposure["hour_looks"], exposure["due"], exposure["until"] is None) == (2, True, False)

    with rig.sessions() as session:
        views = session.scalars(select(View).order_by(View.id)).all()
        assert [(view.actor, view.rung) for view in views] == [
            (maria.pseudonym, rung) for rung in (Rung.MOSAIC, Rung.WHOLE, Rung.WHOLE)
        ]
        told = session.scalars(select(AuditEntry.details).where(AuditEntry.action == "reveal")).all()
        assert [details["view"] for details in told] == [view.id for view in views]


def test_no_picture_of_a_suspected_minor(rig: Rig, console: Console, versioned_bucket: str) -> None:
    review = held_picture(rig, versioned_bucket)
    maria = caller(console, "maria", Role.REVIEWER)
    mina = caller(console, "mina", Role.MINOR_SAFETY)
    maria.claim(review)
    address = maria.post(f"/reviews/{review}/reveal", rung="mosaic").json()["address"]
    minor = {"verdict": "suspected_minor", "request_id": str(uuid4())}
    assert maria.post(f"/reviews/{review}/verdict", **minor).status_code == 200
    assert maria.get(f"/reveal/{address}").status_code == 403
    assert maria.post(f"/reviews/{review}/reveal", rung="mosaic").status_code == 404
    assert mina.post(f"/reviews/{review}/reveal", rung="mosaic").status_code == 403
    seen = mina.get(f"/reviews/{review}").json()
    assert (seen["pictures"], seen["regions"], seen["reveal_needs"]) == (False, [], None)
    with rig.sessions() as session:
        assert session.scalars(select(View)).all() == []


def test_a_lead_looks_for_a_stated_purpose(rig: Rig, console: Console, versioned_bucket: str) -> None:
    review = held_picture(rig, versioned_bucket)
    lead = caller(console, "lead", Role.LEAD)
    assert lead.get(f"/reviews/{review}").json()["reveal_needs"] == "purpose"
    refused = lead.post(f"/reviews/{review}/reveal", rung="mosaic")
    assert (refused.status_code, refused.json()["code"]) == (403, "reveal")
    assert "stated reason" in refused.json()["detail"]
    assert lead.post(f"/reviews/{review}/reveal", rung="mosaic", purpose="curious").status_code == 422
    asked = lead.post(f"/reviews/{review}/reveal", rung="mosaic", purpose="quality")
    assert lead.get(f"/reveal/{asked.json()['address']}").status_code == 200
    with rig.sessions() as session:
        (told,) = session.scalars(select(AuditEntry.details).where(AuditEntry.action == "reveal"))
    assert told["purpose"] == "quality"


def test_where_no_pictures_are_shown_the_api_says_so(rig: Rig, versioned_bucket: str) -> None:
    review = held_picture(rig, versioned_bucket)
    with ExitStack() as ending:
        maria = caller(Console(rig.settings, rig.sessions, ending), "maria", Role.REVIEWER)
        assert maria.get(f"/reviews/{review}").json()["pictures"] is False
        answer = maria.post(f"/reviews/{review}/reveal", rung="mosaic")
        assert (answer.status_code, answer.json()["code"]) == (404, "reveal")
