"""How long the rows of uploads are kept that nothing came of."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class RetentionSettings(BaseModel):
    """One time for all of them: what was matched, decided or withheld is not deleted at all."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    clear_days: int = Field(
        90,
        ge=1,
        description="Days after the last sighting of a clear upload's object until its rows are deleted.",
    )
