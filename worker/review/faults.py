"""Errors about people, sign-ins, proposals, and what is not there for who asks."""

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


class NotThereError(HashwardenError):
    """Something that does not exist, or that this person may not see: they are not told which."""

    code: ClassVar[str] = "not_there"


class UnknownReasonError(HashwardenError):
    """The code of a reason that is not on the short list."""

    code: ClassVar[str] = "unknown_reason"
