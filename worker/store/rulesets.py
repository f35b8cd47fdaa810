"""The table of rules that were approved, and which settings they leave in force."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, Identity, Text, any_, func, or_, select
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, Session, mapped_column

from config.database import Base, Sessions, database_errors
from config.rules import Ruleset
from config.settings import Settings
from worker.store.models import Timestamp
from worker.store.people import Person, Role

APPROVERS = (Role.LEAD, Role.ADMIN)
"""Who may approve what somebody else proposed."""


class RulesetRow(Base):
    """Rules that were approved; the newest count. A trigger and the table's grants refuse every change."""

    __tablename__ = "rulesets"
    __table_args__ = (
        CheckConstraint("approved_by <> proposed_by", name="two_persons"),
        CheckConstraint("(approved_by IS NULL) = (proposed_by IS NULL)", name="both"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    revision: Mapped[str] = mapped_column(Text)
    """As the version named them that wrote them down."""
    content: Mapped[dict[str, Any]] = mapped_column(JSONB)
    proposed_by: Mapped[str | None] = mapped_column(Text)
    approved_by: Mapped[str | None] = mapped_column(Text)
    """A pseudonym; both are NULL where the files alone stood for the rules."""
    at: Mapped[datetime] = mapped_column(Timestamp, server_default=func.clock_timestamp())


def newest(session: Session) -> RulesetRow | None:
    """The rules that were approved last; None before a service has ever started."""
    return session.scalars(select(RulesetRow).order_by(RulesetRow.id.desc()).limit(1)).first()


def two_may_approve(session: Session) -> bool:
    """Whether there are two persons who may sign in and approve; with fewer, the files stand for the rules."""
    able = or_(*(any_(Person.roles) == role.value for role in APPROVERS))
    number = session.scalars(
        select(func.count()).select_from(Person).where(Person.disabled.is_(False), able)
    ).one()
    return number >= 2


def in_force(session: Session, files: Settings) -> Settings:
    """The settings of the files, under the rules that two persons agreed on where the files say others.

    `files` itself where nothing else is approved, and where fewer than two persons may approve. Raises SettingsError
    when this version can't read or use what was approved.
    """
    row = newest(session) if two_may_approve(session) else None
    if row is None:
        return files
    approved = Ruleset.read(row.content)
    return files if approved.revision == files.rules.revision else files.under(approved)


def settings_in_force(sessions: Sessions, files: Settings) -> Settings:
    """As `in_force`, in a transaction of its own. Raises DatabaseError too."""
    with database_errors(), sessions() as session:
        return in_force(session, files)
