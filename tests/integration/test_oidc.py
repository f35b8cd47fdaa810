"""Sign-in at a real OpenID Connect provider on a socket: who comes in, with which roles, and what is refused."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from fastapi import FastAPI, Form, Request
from fastapi.responses import JSONResponse, RedirectResponse
from joserfc import jwt
from joserfc.jwk import RSAKey
from pydantic import SecretStr
from sqlalchemy import select

from config.database import make_engine, make_sessions
from config.oidc import OidcSettings
from config.settings import Settings
from tests.integration.console import Console, served
from worker.review.people import entrance, people, tokens
from worker.store.audit_log import AuditEntry
from worker.store.people import Person, Role, SignInLink

CLIENT, SECRET = "hashwarden-console", "the client's secret"  # (of this test)


class Provider:
    """Discovery, keys, authorization and tokens; `change` spoils the claims, `key` the signature."""

    def __init__(self) -> None:
        self.key = self.published = RSAKey.generate_key(2048, {"kid": "one", "use": "sig"})
        self.change: dict[str, Any] = {}
        self.name = ""
        self.issuer = ""
        self._asked: dict[str, dict[str, str]] = {}
        self.app = FastAPI(openapi_url=None)
        self.app.get("/.well-known/openid-configuration")(self.discovery)
        self.app.get("/keys")(lambda: {"keys": [self.published.as_dict(private=False)]})
        self.app.get("/authorize")(self.authorize)
        self.app.post("/token")(self.token)

    def discovery(self) -> dict[str, str]:
        return {
            "issuer": self.name or self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
        }

    def authorize(self, request: Request) -> RedirectResponse:
        asked = dict(request.query_params)
        assert (asked["response_type"], asked["client_id"]) == ("code", CLIENT)
        assert asked["code_challenge_method"] == "S256"
        code = f"code-{len(self._asked)}"
        self._asked[code] = asked
        return RedirectResponse(f"{asked['redirect_uri']}?code={code}&state={asked['state']}")

    def token(
        self, request: Request, code: str = Form(), code_verifier: str = Form(), redirect_uri: str = Form()
    ) -> JSONResponse:
        asked = self._asked.pop(code, None)
        basic = httpx.BasicAuth(CLIENT, SECRET)._auth_header
        if (
            asked is None
            or request.headers.get("authorization") != basic
            or create_s256_code_challenge(code_verifier) != asked["code_challenge"]
            or redirect_uri != asked["redirect_uri"]
        ):
            return JSONResponse({"error": "invalid_grant"}, 400)
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "sub": "248289761001",
            "aud": CLIENT,
            "iat": now,
            "exp": now + 300,
            "nonce": asked["nonce"],
            "name": "Maria Lopez",
            "groups": ["staff", "safety"],
            **self.change,
        }
        claims = {name: value for name, value in claims.items() if value is not None}
        signed = jwt.encode({"alg": "RS256", "kid": "one"}, claims, self.key)
        return JSONResponse({"access_token": "a", "token_type": "Bearer", "id_token": signed})


@pytest.fixture
def ending() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def provider(ending: ExitStack) -> Provider:
    made = Provider()
    made.issuer = ending.enter_context(served(made.app))
    return made


@pytest.fixture
def console(settings: Settings, provider: Provider, ending: ExitStack) -> Console:
    engine = make_engine(settings.database)
    ending.callback(engine.dispose)
    oidc = OidcSettings(
        issuer=provider.issuer,
        client_id=CLIENT,
        client_secret=SecretStr(SECRET),
        roles={"safety": ["reviewer"], "safety-leads": ["lead", "admin"]},
    )
    review = settings.review.model_copy(update={"url": "http://console.example/"})
    changed = settings.model_copy(update={"oidc": oidc, "review": review})
    return Console(changed, make_sessions(engine), ending)


def to_provider(client: httpx.Client) -> str:
    """Begins; where the provider sends the browser back to, as a path."""
    sent = client.get("/sign-in/oidc")
    assert sent.status_code == 303
    back = httpx.get(sent.headers["location"]).headers["location"]
    assert back.startswith("http://console.example/sign-in/oidc/back?")
    return back.removeprefix("http://console.example")


def failed_sign_ins(console: Console) -> int:
    with console.sessions() as session:
        return len(session.scalars(select(AuditEntry).where(AuditEntry.action == "sign_in_failed")).all())


def test_a_person_comes_in_with_the_roles_of_their_groups(console: Console, provider: Provider) -> None:
    client = console.nobody
    assert "/sign-in/oidc" in client.get("/sign-in").text
    answer = client.get(to_provider(client))
    assert answer.status_code == 200
    assert "url=/start" in answer.text
    assert client.get("/").status_code == 200
    assert client.get("/people").status_code == 403
    with console.sessions() as session:
        person = session.scalars(select(Person)).one()
        assert (person.name, person.roles, person.subject) == ("Maria Lopez", ["reviewer"], "248289761001")
    # Groups change: so do the roles, of the same person.
    provider.change = {"groups": ["safety-leads"], "name": "M. Lopez"}
    client.get(to_provider(client))
    assert client.get("/people").status_code == 200
    with console.sessions() as session:
        assert session.scalars(select(Person)).one().roles == ["admin", "lead"]
    assert failed_sign_ins(console) == 0


def test_somebody_else_of_the_same_name_is_somebody_else(console: Console, provider: Provider) -> None:
    for subject in ("one", "two"):
        provider.change = {"sub": subject}
        client = console.client()
        assert client.get(to_provider(client)).status_code == 200
    with console.sessions() as session:
        names = session.scalars(select(Person.name).order_by(Person.id)).all()
        assert names == ["Maria Lopez", "Maria Lopez (2)"]


@pytest.mark.parametrize(
    "change",
    [
        {"nonce": "another"},
        {"nonce": None},
        {"aud": "another"},
        {"aud": [CLIENT, "another"], "azp": "another"},
        {"aud": None},
        {"iss": "https://evil.example"},
        {"exp": int(time.time()) - 3600},
        {"exp": None},
        {"iat": int(time.time()) + 3600},
        {"sub": None},
        {"groups": ["staff"]},
        {"groups": None},
        {"groups": {"safety": True}},
    ],
)
def test_a_token_that_is_not_for_this_sign_in_lets_nobody_in(
    console: Console, provider: Provider, change: dict[str, Any]
) -> None:
    provider.change = change
    answer = console.nobody.get(to_provider(console.nobody))
    assert answer.status_code == 401
    assert console.nobody.get("/start").headers["location"] == "/sign-in"
    assert failed_sign_ins(console) == 1
    with console.sessions() as session:
        assert session.scalars(select(Person)).all() == []


def test_a_token_that_another_key_signed_lets_nobody_in(console: Console, provider: Provider) -> None:
    provider.key = RSAKey.generate_key(2048, {"kid": "one"})
    assert console.nobody.get(to_provider(console.nobody)).status_code == 401


def test_what_came_back_counts_once_and_in_its_own_browser(console: Console) -> None:
    back = to_provider(console.nobody)
    assert console.client().get(back).status_code == 401
    assert console.nobody.get(back).status_code == 401
    back = to_provider(console.nobody)
    assert console.nobody.get(back).status_code == 200
    assert console.nobody.get(back).status_code == 401
    forged = back.replace(parse_qs(urlsplit(back).query)["state"][0], "x" * 43)
    assert console.nobody.get(forged).status_code == 401
    assert console.nobody.get("/sign-in/oidc/back?error=access_denied").status_code == 401


def test_who_is_disabled_stays_out(console: Console) -> None:
    console.nobody.get(to_provider(console.nobody))
    with console.sessions.begin() as session:
        people.disable(session, people.get(session, "maria lopez"), actor="operator:test")
    assert console.nobody.get(to_provider(console.nobody)).status_code == 401


def test_who_lost_all_groups_loses_roles_sessions_links_and_tokens(
    console: Console, provider: Provider
) -> None:
    signed_in = console.client()
    signed_in.get(to_provider(signed_in))
    assert signed_in.get("/").status_code == 200
    with console.sessions.begin() as session:
        person = people.get(session, "maria lopez")
        token, _row = tokens.add(session, person, [Role.REVIEWER], tokens.DAYS, actor="operator:test")
        entrance.make_link(session, person, 60, actor="operator:test")
    provider.change = {"groups": ["staff"]}
    for _ in range(2):
        assert console.nobody.get(to_provider(console.nobody)).status_code == 401
    assert signed_in.get("/").status_code == 303
    with console.sessions() as session:
        assert session.scalars(select(Person)).one().roles == []
        assert tokens.bearer_of(session, token) is None
        assert session.scalars(select(SignInLink)).all() == []
        lost = session.scalars(select(AuditEntry).where(AuditEntry.action == "person_roles")).one()
        assert (lost.actor, lost.details["sessions"], lost.details["tokens"]) == ("provider", 1, 1)
        assert lost.details["before"] == ["reviewer"]
    assert failed_sign_ins(console) == 2
    provider.change = {}
    assert console.nobody.get(to_provider(console.nobody)).status_code == 200


def test_a_provider_that_is_away_or_another_is_told(console: Console, provider: Provider) -> None:
    provider.name = "https://another.example"
    answer = console.nobody.get("/sign-in/oidc")
    assert answer.status_code == 502
    assert "calls itself by another address" in answer.text
