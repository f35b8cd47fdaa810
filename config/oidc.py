"""Settings of sign-in at an OpenID Connect provider."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

RoleName = Literal["reviewer", "lead", "adjudicator", "minor_safety", "auditor", "admin"]


class OidcSettings(BaseModel):
    """Off without an issuer."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    issuer: str = Field("", description="Address of the OpenID Connect provider; empty: no sign-in there.")
    client_id: str = Field("", description="What the provider calls these pages.")
    client_secret: SecretStr | None = Field(None, description="Secret of the client; empty: PKCE alone.")
    scope: str = Field("openid profile email", description="Scopes that are asked for.")
    roles_claim: str = Field("groups", description="Claim of the ID token that lists the person's groups.")
    roles: dict[str, list[RoleName]] = Field(
        default_factory=dict, description='Roles by group, like `trust-and-safety = ["reviewer"]`.'
    )

    @model_validator(mode="after")
    def _has_what_it_needs(self) -> OidcSettings:
        if self.issuer and not self.client_id:
            raise ValueError("an issuer needs a client_id")
        return self
