"""A language for tests, whose every text stands in brackets: what stands outside is in no catalogue."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.pofile import write_po

from worker.review.catalogue import extracted

TAG = "eo"


def write_pseudo(folder: Path) -> Path:
    """Writes the catalogue of the language into a folder; the folder."""
    made = Catalog(locale=TAG, fuzzy=False)
    for message in extracted():
        if message.id:
            texts = message.id if isinstance(message.id, tuple) else (message.id,)
            said = tuple(f"⟦{text}⟧" for text in texts)
            made.add(message.id, said if isinstance(message.id, tuple) else said[0], context=message.context)
    written = BytesIO()
    write_po(written, made)
    (folder / f"{TAG}.po").write_bytes(written.getvalue())
    return folder
