"""The oldest version whose code may still work on this database: one row, written by migrations."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, SmallInteger, Text
from sqlalchemy.orm import Mapped, mapped_column

from config.database import Base


class SchemaSupport(Base):
    """Read by older versions that are still running, which can't know what newer migrations did."""

    __tablename__ = "schema_support"
    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)

    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    oldest: Mapped[str] = mapped_column(Text)
    """A schema: code that was made for an older one must not run."""
