"""Generated requests at every operation of the API: whatever is sent, it answers as its description says.

Valid and invalid data, by callers of several roles, in a system with reviews, proposals and people in it. A bounded
run is part of the tests; `make fuzz FUZZ_SECONDS=600` goes on for longer.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as running
from hypothesis import strategies as st
from schemathesis import APIOperation, Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.parameters import ParameterLocation
from schemathesis.specs.openapi import checks
from sqlalchemy import func, select

from tests.integration.api import BASE, Caller, caller
from tests.integration.console import Console
from tests.integration.test_desk_pages import add_review
from worker.review.desk import proposals
from worker.store.minor_cases import MinorCase
from worker.store.models import Demotion
from worker.store.people import Role
from worker.store.proposals import ProposalKind

if TYPE_CHECKING:
    from tests.integration.conftest import Rig

AnyCase = Case[APIOperation[Any, Any, Any, Any]]
Operation = APIOperation[Any, Any, Any, Any]

SECONDS = float(os.environ.get("FUZZ_SECONDS", "15"))
EXAMPLES = max(4, int(SECONDS * 0.4))
"""Of each operation, valid and invalid ones each."""

CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.negative_data_rejection,
    checks.ignored_auth,
]
TAGS = ("reviews", "reveal", "minors", "appeals", "uploads", "proposals", "people", "me", "audit", "figures")


@dataclass
class System:
    """A console whose first reviews, proposals and people are there to be hit; `callers` are not among the latter."""

    console: Console
    callers: dict[str, Caller]
    spare: tuple[int, int]
    """The first and the last id of people who may be changed, and of tokens that may be revoked."""
    proposals: tuple[int, ...]
    """What waits for a second person; the first is an overturn of the first case, by somebody else."""
    claim: str
    """A token of a claim of the caller who may do everything."""


@pytest.fixture
def system(rig: Rig) -> Iterator[System]:
    with ExitStack() as ending:
        console = Console(rig.settings, rig.sessions, ending)
        roles = {"all": list(Role), "reviewer": [Role.REVIEWER], "platform": [Role.PLATFORM]}
        callers = {name: caller(console, name, *given) for name, given in roles.items()}
        for number in range(4):
            caller(console, f"spare {number}", Role.REVIEWER)
        reviews = [add_review(rig, uploads=1 + number % 2) for number in range(5)]
        claim = callers["all"].claim(reviews[0])
        callers["all"].decide(reviews[1], "confirmed")
        for review in reviews[2:4]:
            minor = {"verdict": "suspected_minor", "request_id": str(review)}
            assert callers["all"].post(f"/reviews/{review}/verdict", **minor).status_code == 200
        console.signed_in("jo", Role.REVIEWER)
        with rig.sessions.begin() as session:
            demotions = [Demotion(entry_id=number, bank="stopncii", uploaders=30) for number in (1, 2, 3)]
            session.add_all(demotions)
            session.flush()
            case = session.scalars(select(func.min(MinorCase.id))).one()
            overturn = proposals.propose_overturn(session, case, actor="jo", reason="a slip")
            lift = proposals.propose(session, ProposalKind.LIFT_DEMOTION, demotions[0].id, actor="jo")
            waiting = (overturn.id, lift.id, lift.id + 1)
        yield System(console, callers, (len(roles) + 1, len(roles) + 4), waiting, claim)


def aimed(case: AnyCase, system: System, number: int) -> None:
    """Brings ids of a valid request down to what there is, so that more than "not there" is answered."""
    for name in case.path_parameters or {}:
        if name in {"person_id", "token_id"}:
            first, last = system.spare
            case.path_parameters[name] = first + number % (last - first + 1)
        elif name == "proposal_id":
            case.path_parameters[name] = system.proposals[number % len(system.proposals)]
        elif name not in {"address", "name"}:
            case.path_parameters[name] = 1 + number % 6
    if isinstance(case.body, dict):
        if "claim" in case.body and number % 2:
            case.body["claim"] = system.claim
        for name in {"upload_id", "subject_id"} & case.body.keys():
            case.body[name] = 1 + number % 6


def run(operation: Operation, mode: GenerationMode, check: Callable[[AnyCase, str, int], None]) -> None:
    @running(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize="FUZZ_SECONDS" not in os.environ,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(
        case=operation.as_strategy(generation_mode=mode),
        who=st.sampled_from(["all", "all", "all", "reviewer", "platform"]),
        number=st.integers(0, 11),
    )
    def one(case: AnyCase, who: str, number: int) -> None:
        check(case, who, number)

    one()


@pytest.mark.timeout(int(120 + 20 * SECONDS))
@pytest.mark.parametrize("tag", TAGS)
def test_every_answer_is_as_described(system: System, tag: str) -> None:
    schema = schemathesis.openapi.from_asgi(f"{BASE}/openapi.json", system.console.app)
    seen = 0
    for found in schema.include(tag=tag).get_all_operations():
        operation = found.ok()  # type: ignore[union-attr]

        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):

            def check(case: AnyCase, who: str, number: int, mode: GenerationMode = mode) -> None:
                if mode is GenerationMode.POSITIVE:
                    aimed(case, system, number)
                # A header that was left out or spoilt on purpose stays so: it is the token's.
                spoilt = case.meta is not None and case.meta.is_negative_at(ParameterLocation.HEADER)
                token = None if spoilt else {"Authorization": f"Bearer {system.callers[who].token}"}
                case.call_and_validate(headers=token, checks=CHECKS)

            run(operation, mode, check)
            seen += 1
    assert seen
