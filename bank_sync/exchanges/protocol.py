"""What an exchange is: pages of a bank's records from a starting point on, and a door for feedback.

An exchange never touches the database: it says what the bank says, and what of it can't be taken.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

from bank_sync.bank import BankRecord, Reject
from config.errors import HashwardenError


class ExchangeError(HashwardenError):
    """A bank can't be read or told. `retry_after` is the wait in seconds it asked for, if any.

    `code` names what went wrong and is what checkpoints and the feedback outbox record.
    """

    code: ClassVar[str] = "exchange"

    def __init__(self, message: str, *, next_step: str = "", retry_after: float | None = None) -> None:
        super().__init__(message, next_step=next_step)
        self.retry_after = retry_after


class UnreachableError(ExchangeError):
    """No answer, or a server's own fault, after all retries; trying later may help."""

    code = "unreachable"


class KeysRefusedError(ExchangeError):
    """The bank does not accept our keys, or one is missing."""

    code = "credentials"


class RequestRejectedError(ExchangeError):
    """The bank answered that the request itself is wrong."""

    code = "rejected"


class TokenRejectedError(ExchangeError):
    """The bank no longer knows a page token; the cursor has to start afresh."""

    code = "token_rejected"


class MalformedAnswerError(ExchangeError):
    """The bank's answer breaks its own protocol; nothing of this page can be trusted."""

    code = "malformed"


@dataclass(frozen=True, slots=True)
class Page:
    """One answer of a bank. `token` fetches the next page while `more`; `next_start` is where a later sync
    begins once the cursor is drained, never before."""

    records: tuple[BankRecord, ...]
    rejects: tuple[Reject, ...]
    more: bool
    token: str | None
    next_start: int
    done: int | None = None
    """Records shown up to its end, those before a token included; None where the bank does not say."""
    total: int | None = None
    """Records that will have been shown at the end."""


@dataclass(frozen=True, slots=True)
class FeedbackItem:
    """What to say of one signal: PendingReview, Blocked or NotBlocked."""

    signal_type: str
    signal: bytes
    value: str


class Exchange(Protocol):
    """One bank's wire."""

    first_start: int
    """Where the first sync begins."""

    overlap: int
    """How far a later sync steps back before its checkpoint: records at the edge come twice, never not at all."""

    snapshot: bool
    """Every fetch shows everything: what it does not show has been withdrawn."""

    max_feedback: int
    """Items one submission may hold; 0: the bank takes no feedback."""

    @property
    def second_keys(self) -> frozenset[str]:
        """Settings of which the bank took the second key since this was opened, because it refused the first."""
        ...

    def version(self) -> str:
        """What of a snapshot changes whenever it shows anything else; '' where that can't be told without reading it.

        Raises ExchangeError.
        """
        ...

    def fetch(self, start: int, token: str | None) -> Iterator[Page]:
        """Pages from `start` on, or from inside the cursor that `token` names, until it is drained.

        Raises ExchangeError; a page is yielded whole or not at all.
        """
        ...

    def submit_feedback(self, items: Sequence[FeedbackItem]) -> None:
        """Reports items to the bank in one call; safe to repeat. Raises ExchangeError."""
        ...

    def close(self) -> None:
        """Frees connections."""
        ...
