"""The own bank as an exchange: its entries are written by decisions, so there is nothing to fetch or to tell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bank_sync.exchanges.protocol import FeedbackItem, Page


class OwnExchange:
    """Shows one empty page and takes no feedback."""

    first_start = 0
    overlap = 0
    snapshot = False
    max_feedback = 0
    second_keys: frozenset[str] = frozenset()

    def version(self) -> str:
        return ""

    def fetch(self, start: int, token: str | None) -> Iterator[Page]:  # noqa: ARG002 (the protocol's signature)
        yield Page(records=(), rejects=(), more=False, token=None, next_start=start)

    def submit_feedback(self, items: Sequence[FeedbackItem]) -> None:
        """Nobody to tell."""

    def close(self) -> None:
        """Nothing is open."""
