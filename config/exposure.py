"""The settings of how much of sharp pictures one reviewer looks at."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class _Group(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ExposureSettings(_Group):
    """How much of sharp pictures (a region or the whole) one reviewer looks at."""

    soft_looks_hour: int = Field(40, ge=1, description="Looks in an hour from which a break is offered.")
    hard_looks_hour: int = Field(
        80, ge=1, description="Looks in an hour that end sharp pictures for a while."
    )
    soft_seconds_hour: float = Field(
        120, gt=0, description="Seconds of looking in an hour from which a break is offered."
    )
    hard_seconds_hour: float = Field(
        300, gt=0, description="Seconds of looking in an hour that end sharp pictures for a while."
    )
    soft_seconds_week: float = Field(
        3600, gt=0, description="Seconds of looking in seven days from which a break is offered."
    )
    hard_seconds_week: float = Field(
        7200, gt=0, description="Seconds of looking in seven days that end them until it is less again."
    )
    cool_down: float = Field(
        900,
        gt=0,
        description="Seconds without a look that make a break: after it the hour is counted from zero.",
    )

    @model_validator(mode="after")
    def _soft_comes_first(self) -> Self:
        for name in ("looks_hour", "seconds_hour", "seconds_week"):
            if getattr(self, f"soft_{name}") > getattr(self, f"hard_{name}"):
                raise ValueError(f"soft_{name} is over hard_{name}")
        return self
