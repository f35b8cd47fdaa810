"""Settings of `hashwarden inbox-app`: where stores and the platform push what was uploaded."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

MIN_TOKEN = 32
"""Characters: `openssl rand -hex 32` gives 64."""

MAX_TOKENS = 2
"""The one in use, and the next one while it is changed."""


class InboxSettings(BaseModel):
    """Served when there is a token of either kind."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    store_tokens: list[SecretStr] = Field(
        default_factory=list,
        max_length=MAX_TOKENS,
        description="Tokens by which stores push notifications, each valid; none: theirs are not taken.",
    )
    platform_tokens: list[SecretStr] = Field(
        default_factory=list,
        max_length=MAX_TOKENS,
        description="Tokens by which the platform pushes items and asks for their states; none: not taken.",
    )
    host: str = Field("127.0.0.1", description="Address on which pushes are taken.")
    port: int = Field(8766, ge=0, le=65535, description="Port on which pushes are taken.")
    tls: bool = Field(False, description="TLS is in front: other hosts may be listened to.")

    @property
    def is_open(self) -> bool:
        """Whether anybody may push."""
        return bool(self.store_tokens or self.platform_tokens)

    @field_validator("store_tokens", "platform_tokens")
    @classmethod
    def _can_not_be_guessed(cls, tokens: list[SecretStr]) -> list[SecretStr]:
        for token in tokens:
            value = token.get_secret_value()
            if len(value) < MIN_TOKEN or not value.isascii() or not value.isprintable() or " " in value:
                raise ValueError(f"a token has at least {MIN_TOKEN} ASCII characters, without spaces")
        return tokens
