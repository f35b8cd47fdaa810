"""What the desk refuses: the page that says so leads on, and gives back what was typed."""

from __future__ import annotations

from fastapi import HTTPException

from config.words import Words


class Refusal(HTTPException):
    """Nothing was done (409). `way`: the address where it goes on, with its words; `written`: what the form brought.

    Raise it behind the check of the form alone: what another site sends is not to stand on a page of ours.
    """

    def __init__(self, detail: str, way: tuple[str, Words | str], written: str = "") -> None:
        super().__init__(409, detail)
        self.way = way
        self.written = written
