"""Sign-in at an OpenID Connect provider: authorization code with PKCE, discovery, and groups that give roles.

What was sent is kept in the database and used once; the browser that began it must be the one that comes back.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx
from authlib.common.urls import add_params_to_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from authlib.oidc.core import CodeIDToken
from authlib.oidc.discovery import get_well_known_url
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet, import_key
from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from config.database import Sessions
from config.oidc import OidcSettings
from config.settings import Settings
from config.words import _
from worker.review.faults import SignInError
from worker.review.people import entrance, people
from worker.review.people.sign_ins import token_hash
from worker.store.people import OidcSignIn, Person, Role

BACK = "/sign-in/oidc/back"
"""Where the provider sends people back to; it must know this address."""
LASTS = timedelta(minutes=10)
LEEWAY = 60
"""Seconds by which the provider's clock may differ."""
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA")
"""Signatures by a key that only the provider has."""

_ACTOR = "provider"
_MOST_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Provider:
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str


class Oidc:
    """One provider. It is asked afresh at each sign-in: keys may have changed."""

    def __init__(self, settings: Settings, sessions: Sessions) -> None:
        self._settings = settings
        self._oidc: OidcSettings = settings.oidc
        self._sessions = sessions
        self._back = f"{settings.review.address}{BACK}"

    def begin(self, browser: str) -> str:
        """The provider's address to send this browser to. `browser`: a random cookie of it. Raises SignInError."""
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        with self._client() as client:
            provider = self._discover(client)
        with self._sessions.begin() as session:
            session.execute(delete(OidcSignIn).where(OidcSignIn.expires_at < func.clock_timestamp()))
            session.add(
                OidcSignIn(
                    state_hash=token_hash(state),
                    browser_hash=token_hash(browser),
                    nonce=nonce,
                    code_verifier=verifier,
                    expires_at=func.clock_timestamp() + LASTS,
                )
            )
        address: str = add_params_to_uri(
            provider.authorization_endpoint,
            [
                ("response_type", "code"),
                ("client_id", self._oidc.client_id),
                ("redirect_uri", self._back),
                ("scope", self._oidc.scope),
                ("state", state),
                ("nonce", nonce),
                ("code_challenge", create_s256_code_challenge(verifier)),
                ("code_challenge_method", "S256"),
            ],
        )
        return address

    def finish(self, browser: str, state: str, code: str) -> str:
        """The token of a new session for who came back. Raises SignInError, and writes down that it failed."""
        try:
            nonce, verifier = self._take(browser, state)
            claims = self._claims(code, verifier, nonce)
            with self._sessions.begin() as session:
                person = self._person(session, claims)
                if person is not None:
                    return entrance.let_in(session, person, "oidc", self._settings.review)
            # Only now: what somebody lost at the provider is lost here, though they are not let in.
            raise SignInError(_("You have no role here."), next_step=_("Ask an admin for one."))
        except SignInError:
            with self._sessions.begin() as session:
                entrance.refused(session, None)
            raise

    def _take(self, browser: str, state: str) -> tuple[str, str]:
        """Nonce and verifier of what was begun; whatever comes of it, it is used up."""
        with self._sessions.begin() as session:
            row = session.execute(
                delete(OidcSignIn)
                .where(
                    OidcSignIn.state_hash == token_hash(state),
                    OidcSignIn.expires_at > func.clock_timestamp(),
                )
                .returning(OidcSignIn.browser_hash, OidcSignIn.nonce, OidcSignIn.code_verifier)
            ).one_or_none()
        if row is None or not hmac.compare_digest(row.browser_hash, token_hash(browser)):
            raise SignInError(
                _("This sign-in was not begun here, or its time is over."), next_step=_("Begin it again.")
            )
        return row.nonce, row.code_verifier

    def _claims(self, code: str, verifier: str, nonce: str) -> Mapping[str, Any]:
        with self._client() as client:
            provider = self._discover(client)
            secret = self._oidc.client_secret
            form = {
                "grant_type": "authorization_code",
                "code": code,
                "redirect_uri": self._back,
                "code_verifier": verifier,
                "client_id": self._oidc.client_id,
            }
            auth = (self._oidc.client_id, secret.get_secret_value()) if secret is not None else None
            answer = _json(client, "POST", provider.token_endpoint, data=form, auth=auth)
            keys = _json(client, "GET", provider.jwks_uri)
        try:
            known = KeySet([import_key(key) for key in keys["keys"]])
            decoded = jwt.decode(str(answer["id_token"]), known, algorithms=list(ALGORITHMS))
            claims = CodeIDToken(
                decoded.claims,
                decoded.header,
                {
                    "iss": {"essential": True, "value": self._oidc.issuer},
                    "aud": {"essential": True, "value": self._oidc.client_id},
                },
                {
                    "nonce": nonce,
                    "client_id": self._oidc.client_id,
                    "access_token": answer.get("access_token"),
                },
            )
            claims.validate(leeway=LEEWAY)
        except (JoseError, KeyError, TypeError, ValueError):
            raise SignInError(
                _("The provider's answer is not one for this sign-in."),
                next_step=_("Begin again; if it stays, compare the [oidc] settings with the provider's."),
            ) from None
        found: Mapping[str, Any] = claims
        return found

    def _person(self, session: Session, claims: Mapping[str, Any]) -> Person | None:
        """Who it is, made at the first time; their roles are those of their groups now. None: they may not come in.

        Who has no group any more loses all that they had by them.
        """
        subject = str(claims["sub"])
        roles = self._roles(claims.get(self._oidc.roles_claim))
        person = session.scalars(
            select(Person)
            .where(Person.issuer == self._oidc.issuer, Person.subject == subject)
            .with_for_update()
        ).one_or_none()
        if not roles and person is not None:
            people.lose_roles(session, person, actor=_ACTOR)
        if not roles or (person is not None and person.disabled):
            return None
        if person is None:
            name = next(
                (claims[key] for key in ("name", "preferred_username", "email") if claims.get(key)), ""
            )
            return people.add_from_provider(
                session, self._oidc.issuer, subject, str(name), roles, actor=_ACTOR
            )
        people.set_roles(session, person, roles, actor=_ACTOR)
        return person

    def _roles(self, groups: object) -> set[Role]:
        named = [groups] if isinstance(groups, str) else groups if isinstance(groups, list) else []
        return {Role(role) for group in named for role in self._oidc.roles.get(str(group), ())}

    def _discover(self, client: httpx.Client) -> _Provider:
        found = _json(client, "GET", get_well_known_url(self._oidc.issuer, external=True))
        try:
            if found["issuer"] != self._oidc.issuer:
                raise SignInError(
                    _("The provider calls itself by another address."),
                    next_step=_("Set oidc.issuer to exactly what its discovery document says."),
                )
            return _Provider(
                str(found["authorization_endpoint"]), str(found["token_endpoint"]), str(found["jwks_uri"])
            )
        except KeyError:
            raise _away() from None

    def _client(self) -> httpx.Client:
        return httpx.Client(timeout=10, follow_redirects=False)


def _json(client: httpx.Client, method: str, address: str, **more: Any) -> dict[str, Any]:  # noqa: ANN401 (httpx's)
    """Raises SignInError when the provider can't be reached or refuses."""
    try:
        answer = client.request(method, address, **more)
        if answer.status_code != 200 or len(answer.content) > _MOST_BYTES:
            raise _away()
        found = answer.json()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError):
        raise _away() from None
    if not isinstance(found, dict):
        raise _away()
    return found


def _away() -> SignInError:
    return SignInError(
        _("The provider does not answer as it should."),
        next_step=_("Try again in a moment; then look at the [oidc] settings."),
    )
