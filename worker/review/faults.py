"""Errors about people, sign-ins and proposals."""

from __future__ import annotations

from typing import ClassVar

from config.errors import HashwardenError


class PeopleError(HashwardenError):
    """A person that does not exist, or can't be as asked."""

    code: ClassVar[str] = "people"


class SignInError(HashwardenError):
    """Somebody is not let in. The text is shown to whoever it is."""

    code: ClassVar[str] = "sign_in"


class TooManyTriesError(SignInError):
    """Too many sign-ins of this name or address have failed of late."""

    code = "too_many_tries"


class ProposalError(HashwardenError):
    """A proposal that can't be made, approved or rejected."""

    code: ClassVar[str] = "proposal"
