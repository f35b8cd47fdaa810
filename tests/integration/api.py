"""The API on a socket, and callers with tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx

from tests.integration.console import Console
from worker.review.people import people, tokens
from worker.store.people import Role

BASE = "/api/v1"


@dataclass(frozen=True)
class Caller:
    """Somebody with a token. Each call answers with what the API answered."""

    pseudonym: str
    token: str
    client: httpx.Client

    def get(self, address: str, **query: Any) -> httpx.Response:  # noqa: ANN401 (what httpx takes)
        return self.client.get(BASE + address, params=query or None)

    def post(self, address: str, **body: Any) -> httpx.Response:  # noqa: ANN401 (what JSON holds)
        return self.client.post(BASE + address, json=body or None)

    def put(self, address: str, **body: Any) -> httpx.Response:  # noqa: ANN401 (as above)
        return self.client.put(BASE + address, json=body)

    def delete(self, address: str) -> httpx.Response:
        return self.client.delete(BASE + address)

    def claim(self, review_id: int) -> str:
        """Takes a review; the claim's token."""
        answer = self.post(f"/reviews/{review_id}/claim")
        assert answer.status_code == 200, answer.text
        return str(answer.json()["token"])

    def decide(self, review_id: int, verdict: str, **more: Any) -> httpx.Response:  # noqa: ANN401 (as above)
        """Takes a review and decides it."""
        claim = self.claim(review_id)
        return self.post(
            f"/reviews/{review_id}/verdict",
            **{"verdict": verdict, "request_id": str(uuid4()), "claim": claim} | more,
        )


def caller(console: Console, name: str, *roles: Role) -> Caller:
    """A new person with these roles, and a token for all of them."""
    with console.sessions.begin() as session:
        person = people.add(session, name, roles, actor="test")
        token, _ = tokens.add(session, person, roles, tokens.DAYS, actor="test")
        pseudonym = person.pseudonym
    client = console.client()
    client.headers["authorization"] = f"Bearer {token}"
    return Caller(pseudonym, token, client)
