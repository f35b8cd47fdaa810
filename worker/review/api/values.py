"""What requests and answers are made of: ids, texts, pages of lists, and the strictness of every model."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Path, Query
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

MOST_ROWS = 200
"""Rows of a list in one answer, at most."""

LARGEST_ID = 2**63 - 1

Responses = dict[int | str, dict[str, Any]]
"""What an operation answers beside its result and what every operation may, by status."""


class Strict(BaseModel):
    """Holds the fields that it names and no others."""

    model_config = ConfigDict(extra="forbid", frozen=True, from_attributes=True)


def _storable(text: str) -> str:
    """PostgreSQL keeps no NUL, and no encoding has lone surrogates."""
    if "\0" in text:
        raise ValueError("it holds a NUL character")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("it holds half of a surrogate pair") from None
    return text


Stored = AfterValidator(_storable)
ShortText = Annotated[str, StringConstraints(max_length=200), Stored]
LongText = Annotated[str, StringConstraints(max_length=3900), Stored]
Needed = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"\S"), Stored]
Id = Annotated[int, Field(strict=True, ge=1, le=LARGEST_ID)]
Number = Annotated[int, Path(ge=1, le=LARGEST_ID)]
Limit = Annotated[int, Query(ge=1, le=MOST_ROWS, description="Rows of this answer, at most.")]
Cursor = Annotated[
    int | None,
    Query(ge=1, le=LARGEST_ID, description="`next_cursor` of the answer before; absent for the first page."),
]
NextCursor = Annotated[
    int | None, Field(description="Send it as `cursor` for what follows; null where this was all.")
]
