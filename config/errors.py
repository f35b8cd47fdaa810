"""The root of the error tree: every error has a stable code, says what happened, and what to do next.

An error text may name an upload id, a bank, a setting, a host or a file. It never carries a hash, a bank
entry, a case number, a credential or an object key: error texts reach logs.
"""

from typing import ClassVar

from config.words import Words, joined


class HashwardenError(Exception):
    """Base of all expected failures; the command line prints it as one sentence and exits 1."""

    code: ClassVar[str] = "error"

    def __init__(self, message: str, *, next_step: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.next_step = next_step

    @property
    def words(self) -> Words:
        """What `str` gives, for a page to say in its reader's language."""
        return joined(self.message, self.next_step)

    def __str__(self) -> str:
        return f"{self.message} {self.next_step}".strip()


class SettingsError(HashwardenError):
    """A setting is missing, unknown or out of range."""

    code = "settings"


class DatabaseError(HashwardenError):
    """The database can't be reached, or its schema is not the one that this version needs."""

    code = "database"
