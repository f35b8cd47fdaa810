"""The settings of how long a review may wait: clocks by bank and by the place of an upload."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict, Field, model_validator

DEFAULT = "default"
"""The profile of what names no other: a bank without one, a review without a match."""


class _Group(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DeadlineProfile(_Group):
    """One clock."""

    hours: float = Field(gt=0, le=24 * 365, description="Hours from the opening of a review to its deadline.")
    law: str = Field("", description="Where the hours come from, for whoever reads the settings.")


class DeadlineSettings(_Group):
    profiles: dict[str, DeadlineProfile] = Field(
        default_factory=lambda: {DEFAULT: DeadlineProfile(hours=48)}, description="The clocks by name."
    )
    places: dict[str, str] = Field(
        default_factory=dict,
        description="Profiles by the beginning of `bucket/key`, for a jurisdiction's uploads; the longest counts.",
    )

    @model_validator(mode="after")
    def _places_name_profiles(self) -> DeadlineSettings:
        if DEFAULT not in self.profiles:
            raise ValueError(f"there is no profile {DEFAULT!r}")
        for place, profile in self.places.items():
            if profile not in self.profiles:
                raise ValueError(f"place {place!r} names the profile {profile!r}, which is not there")
        return self

    def hours(self, profiles: Iterable[str], bucket: str, key: str) -> float:
        """The earliest of these clocks and of the upload's place."""
        name = f"{bucket}/{key}"
        fitting = [place for place in self.places if name.startswith(place)]
        of_place = [self.places[max(fitting, key=len)]] if fitting else []
        return min(self.profiles[profile].hours for profile in [*(list(profiles) or [DEFAULT]), *of_place])
