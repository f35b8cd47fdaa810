"""The settings of what happens: which bank's match does what, and how each bank is reached.

Thresholds are PDQ's own: 256 bits, a match at 31 or fewer differing bits, quality 50 or more (the PDQ paper and
python-threatexchange's constants).
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

EffectName = Literal["hold", "flag", "shadow"]
ProfileName = Literal["plain", "standard", "thorough"]
ExchangeName = Literal["stopncii", "file", "own"]

MAX_RADIUS = 48
"""The widest radius the index answers exactly."""


class _Group(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RuleSettings(_Group):
    """What a match of one signal type of one bank does."""

    effect: EffectName = Field(
        "hold", description="hold: withhold until decided; flag: review only; shadow: record only."
    )
    radius: int = Field(
        31, ge=0, le=MAX_RADIUS, description="Largest distance in bits that counts as a match."
    )
    review_radius: int = Field(
        40,
        ge=0,
        le=MAX_RADIUS,
        description="Distance up to which a match over `radius` only flags; not over `radius`, there is no such range.",
    )
    min_quality: int = Field(
        50,
        ge=0,
        le=100,
        description="PDQ quality below which only `low_quality_radius` counts, and only flags.",
    )
    low_quality_radius: int = Field(
        8, ge=0, le=MAX_RADIUS, description="Radius for hashes below min_quality."
    )
    video_share: float = Field(
        0.8,
        gt=0,
        le=1,
        description="vpdq: share of the bank video's frames, or of the uploaded video's seconds, that must agree.",
    )
    video_review_share: float = Field(
        0.1, ge=0, le=1, description="vpdq: the share from which a match under `video_share` only flags."
    )
    video_frames: int = Field(
        3, ge=1, description="vpdq: distinct frames that must agree; fewer where a video is shorter."
    )
    video_seconds: float = Field(
        2.0, ge=0, description="vpdq: seconds that they must span; less where a video is shorter."
    )
    priority: int = Field(50, ge=0, le=100, description="Order of its reviews; higher first.")


class UnmatchedSettings(_Group):
    """What an upload gets that could not be compared."""

    effect: Literal["hold", "flag", "none"] = Field(
        "flag", description="hold, flag (a review), or none (counted only)."
    )
    priority: int = Field(10, ge=0, le=100, description="Order of its reviews; higher first.")


class FloodSettings(_Group):
    """An entry that hits this many uploaders in the window is demoted to flag-only and a person is told."""

    uploaders: int = Field(
        25, ge=2, description="Distinct uploaders held by one entry that trip the breaker."
    )
    window: float = Field(3600, gt=0, description="Seconds over which they are counted.")


class SecondReviewSettings(_Group):
    """Which verdicts a second person must agree with before they are enacted. A suspected minor acts at once."""

    distance: int | None = Field(
        None,
        ge=0,
        le=MAX_RADIUS,
        description="Nearest distance over which two persons decide; empty: distance never asks for it.",
    )
    first_hit: bool = Field(
        False, description="Two persons decide while nobody has decided a match of any of its entries."
    )
    restores: bool = Field(
        False, description="Two persons decide to serve again what a decision had removed."
    )
    share: float = Field(0.0, ge=0, le=1, description="Share of the other reviews that two persons decide.")

    @property
    def asks(self) -> bool:
        """Whether any verdict needs a second person."""
        return self.distance is not None or self.first_hit or self.restores or self.share > 0


class PolicySettings(_Group):
    mode: Literal["enforce", "shadow"] = Field(
        "enforce", description="shadow records what would be done, does nothing."
    )
    publish: Literal["until_held", "after_scan"] = Field(
        "until_held",
        description="until_held: served at once, withheld on a match; after_scan: served once tagged.",
    )
    default: RuleSettings = Field(
        RuleSettings(), description="For a bank and signal type without a rule of its own."
    )
    profile: ProfileName = Field(
        "standard",
        description="Views of a picture that are looked up: plain (turned, mirrored, inverted), standard, thorough.",
    )
    profiles: dict[str, ProfileName] = Field(
        default_factory=dict,
        description="Profiles by the beginning of `bucket/key`; the longest that fits counts.",
    )
    rules: dict[str, dict[str, RuleSettings]] = Field(
        default_factory=dict, description="Rules by bank, then by signal type."
    )
    unscannable: UnmatchedSettings = Field(
        UnmatchedSettings(), description="Broken, hostile or over-limit media."
    )
    unsupported: UnmatchedSettings = Field(
        UnmatchedSettings(effect="none"),
        description="What is no image or video, or of a format out of scope.",
    )
    flood: FloodSettings = Field(FloodSettings(), description="The flood breaker.")
    second_review: SecondReviewSettings = Field(
        SecondReviewSettings(), description="Which verdicts need a second person."
    )
    retro_most_share: float = Field(
        0.001,
        gt=0,
        le=1,
        description="Share of the ledger's contents; hunts may hold or flag so many uploads in 24 hours. "
        "Over it, and over 50, a person is asked first.",
    )
    removal_delay: float = Field(
        600,
        ge=0,
        description="Seconds between removal and deletion of the bytes, in which it can be undone exactly.",
    )
    preserve_days: int = Field(
        365,
        ge=1,
        le=36500,
        description="Days that the bytes of a suspected minor are kept, from the decision and again from the report.",
    )

    @field_validator("rules", "profiles", mode="before")
    @classmethod
    def _in_order(cls, names: object) -> object:
        # A revision names the rules, in whatever order they are written down.
        return _sorted(names)

    @model_validator(mode="after")
    def _serves_something(self) -> PolicySettings:
        if self.mode == "shadow" and self.publish == "after_scan":
            raise ValueError(
                "mode 'shadow' writes no tags, and publish 'after_scan' serves by tag: nothing would be served"
            )
        return self

    def rule(self, bank: str, signal_type: str) -> RuleSettings:
        """The rule for one signal type of one bank."""
        return self.rules.get(bank, {}).get(signal_type, self.default)

    def profile_of(self, bucket: str, key: str) -> ProfileName:
        """The profile of one upload: platforms put new accounts or public reach under a prefix of their own."""
        name = f"{bucket}/{key}"
        fitting = [prefix for prefix in self.profiles if name.startswith(prefix)]
        return self.profiles[max(fitting, key=len)] if fitting else self.profile

    @property
    def revision(self) -> str:
        """Twelve hex digits that name exactly this policy; recorded with each decision."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:12]


def _sorted(names: object) -> object:
    return {name: _sorted(names[name]) for name in sorted(names)} if isinstance(names, dict) else names


class BankSettings(_Group):
    """How one bank is reached. Fields that its exchange does not use stay empty."""

    exchange: ExchangeName = Field(description="Wire: stopncii, file or own.")
    enabled: bool = Field(True, description="A bank that is off is not synced and does not match.")
    base_url: str = Field(
        "https://api.stopncii.org/v1", description="stopncii: base address of the partner API."
    )
    subscription_key: SecretStr | None = Field(None, description="stopncii: Ocp-Apim-Subscription-Key.")
    fetch_key: SecretStr | None = Field(None, description="stopncii: x-functions-key of FetchHashes.")
    feedback_key: SecretStr | None = Field(None, description="stopncii: x-functions-key of SubmitFeedback.")
    second_subscription_key: SecretStr | None = Field(
        None, description="stopncii: tried where subscription_key is refused, while it is being changed."
    )
    second_fetch_key: SecretStr | None = Field(
        None, description="stopncii: tried where fetch_key is refused, while it is being changed."
    )
    second_feedback_key: SecretStr | None = Field(
        None, description="stopncii: tried where feedback_key is refused, while it is being changed."
    )
    page_size: int = Field(800, ge=1, le=10000, description="stopncii: records asked for per page.")
    timeout: float = Field(60, gt=0, description="stopncii: seconds to wait for one answer.")
    path: Path | None = Field(None, description="file: the file of `type value` lines.")
    send_feedback: bool = Field(True, description="Whether decisions are reported back to the bank.")
    deadline: str = Field("default", description="Profile of `deadlines.profiles` that its matches start.")

    @field_validator("base_url")
    @classmethod
    def _holds_no_key(cls, address: str) -> str:
        # It stands in proposals and in the approved rules, which people read.
        parts = urlsplit(address)
        if "@" in parts.netloc or parts.query:
            raise ValueError("it holds a password or a query; keys have settings of their own")
        return address

    @model_validator(mode="after")
    def _has_what_its_exchange_needs(self) -> BankSettings:
        if self.exchange == "file" and self.path is None:
            raise ValueError("a bank with exchange 'file' needs a path")
        return self
