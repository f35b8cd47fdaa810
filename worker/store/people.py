"""The tables of who may sign in: people, their sessions, one-time links, attempts, and sign-ins at a provider.

Nothing here lets anybody in who reads it: of passwords there is an argon2 hash, of tokens a SHA-256.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Identity,
    Index,
    LargeBinary,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from config.database import Base
from worker.store.models import Timestamp


class Role(StrEnum):
    REVIEWER = "reviewer"
    LEAD = "lead"
    ADJUDICATOR = "adjudicator"
    MINOR_SAFETY = "minor_safety"
    AUDITOR = "auditor"
    ADMIN = "admin"
    PLATFORM = "platform"
    """A service of the platform's own; no person."""


class Person(Base):
    """Somebody who may sign in. Never deleted: the pseudonym stands in the history."""

    __tablename__ = "people"
    __table_args__ = (
        Index("uq_people_name", func.lower(text("name")), unique=True),
        UniqueConstraint("issuer", "subject"),
        CheckConstraint("(issuer IS NULL) = (subject IS NULL)", name="provider"),
        CheckConstraint("subject IS NULL OR password_hash IS NULL", name="one_way_in"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    """Shown to admins only."""
    pseudonym: Mapped[str] = mapped_column(Text, unique=True)
    """Drawn at random and kept: what stands in decisions, history, exports and pages."""
    roles: Mapped[list[str]] = mapped_column(ARRAY(Text))
    disabled: Mapped[bool] = mapped_column(default=False, server_default="false")
    password_hash: Mapped[str | None] = mapped_column(Text)
    """argon2id; NULL for who comes by a provider or, so far, by a one-time link."""
    issuer: Mapped[str | None] = mapped_column(Text)
    subject: Mapped[str | None] = mapped_column(Text)
    """Who it is at the OIDC provider `issuer`."""
    single_keys: Mapped[bool] = mapped_column(default=True, server_default="true")
    """Whether one key alone, without a modifier, does something on the pages (WCAG 2.1.4)."""
    created_at: Mapped[datetime] = mapped_column(Timestamp, server_default=func.clock_timestamp())


class SignedIn(Base):
    """One session of one person."""

    __tablename__ = "sign_in_sessions"
    __table_args__ = (Index("ix_sign_in_sessions_person_id", "person_id"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    person_id: Mapped[int] = mapped_column(ForeignKey("people.id"))
    token_hash: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    way: Mapped[str] = mapped_column(Text)
    """password, link or oidc."""
    created_at: Mapped[datetime] = mapped_column(Timestamp, server_default=func.clock_timestamp())
    seen_at: Mapped[datetime] = mapped_column(Timestamp, server_default=func.clock_timestamp())
    expires_at: Mapped[datetime] = mapped_column(Timestamp)
    """However busy the session is."""
    ended_at: Mapped[datetime | None] = mapped_column(Timestamp)
    """Signed out or revoked."""


class SignInLink(Base):
    """A link that lets one person in once; deleted when it is used."""

    __tablename__ = "sign_in_links"

    token_hash: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    person_id: Mapped[int] = mapped_column(ForeignKey("people.id"))
    expires_at: Mapped[datetime] = mapped_column(Timestamp)


class SignInAttempt(Base):
    """A try with a name and a password, or with a token, that has not come out well; kept for as long as it counts."""

    __tablename__ = "sign_in_attempts"
    __table_args__ = (
        Index("ix_sign_in_attempts_name_digest", "name_digest", "at"),
        Index("ix_sign_in_attempts_address", "address", "at"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    name_digest: Mapped[bytes] = mapped_column(LargeBinary)
    """SHA-256: what is typed as a name may be a password."""
    address: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime] = mapped_column(Timestamp, server_default=func.clock_timestamp())


class OidcSignIn(Base):
    """A sign-in that was sent to the provider and has not come back; deleted when it does."""

    __tablename__ = "oidc_sign_ins"

    state_hash: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    browser_hash: Mapped[bytes] = mapped_column(LargeBinary)
    """Of the cookie of the browser that began it."""
    nonce: Mapped[str] = mapped_column(Text)
    code_verifier: Mapped[str] = mapped_column(Text)
    expires_at: Mapped[datetime] = mapped_column(Timestamp)


class ApiToken(Base):
    """A token by which a program acts as one person; of the token there is a SHA-256."""

    __tablename__ = "api_tokens"
    __table_args__ = (
        Index("ix_api_tokens_person_id", "person_id"),
        CheckConstraint("cardinality(roles) > 0", name="roles"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    person_id: Mapped[int] = mapped_column(ForeignKey("people.id"))
    token_hash: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    roles: Mapped[list[str]] = mapped_column(ARRAY(Text))
    """What of its person's roles it may use; a role that the person loses counts no more."""
    created_at: Mapped[datetime] = mapped_column(Timestamp, server_default=func.clock_timestamp())
    expires_at: Mapped[datetime] = mapped_column(Timestamp)
    used_at: Mapped[datetime | None] = mapped_column(Timestamp)
    """To the minute; NULL: never."""
    revoked_at: Mapped[datetime | None] = mapped_column(Timestamp)
