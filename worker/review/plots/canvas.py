"""A drawing as SVG text that may stand in a page: well-formed whatever the words in it are."""

from __future__ import annotations

from dataclasses import dataclass
from xml.etree import ElementTree

from markupsafe import Markup


@dataclass(frozen=True, slots=True)
class Told:
    """What a drawing says to who can't see it: its id on the page, its title, and a sentence about what it shows."""

    name: str
    title: str
    words: str


class Canvas:
    """One drawing of `width` x `height` units; it is as wide as its place on the page."""

    def __init__(self, told: Told, width: float, height: float) -> None:
        title, words = f"{told.name}-title", f"{told.name}-words"
        self.width, self.height = width, height
        self._root = ElementTree.Element(
            "svg",
            {
                "class": "plot",
                "role": "img",
                "viewBox": f"0 0 {_number(width)} {_number(height)}",
                "aria-labelledby": f"{title} {words}",
            },
        )
        ElementTree.SubElement(self._root, "title", {"id": title}).text = told.title
        ElementTree.SubElement(self._root, "desc", {"id": words}).text = told.words

    def rect(
        self, kind: str, box: tuple[float, float, float, float], words: str = "", round: float = 0
    ) -> None:
        """A rectangle at left, top, of width and height; `words` are shown where a mouse rests on it."""
        left, top, width, height = box
        sides = {"x": left, "y": top, "width": max(width, 0.0), "height": max(height, 0.0)}
        self._add("rect", kind, sides | ({"rx": round} if round else {}), words)

    def line(self, kind: str, start: tuple[float, float], end: tuple[float, float]) -> None:
        self._add("line", kind, {"x1": start[0], "y1": start[1], "x2": end[0], "y2": end[1]})

    def path(self, kind: str, points: list[tuple[float, float]]) -> None:
        """A line through points."""
        drawn = "M" + " L".join(f"{_number(across)} {_number(down)}" for across, down in points)
        ElementTree.SubElement(self._root, "path", {"class": kind, "d": drawn, "fill": "none"})

    def dot(self, kind: str, at: tuple[float, float], radius: float, words: str = "") -> None:
        self._add("circle", kind, {"cx": at[0], "cy": at[1], "r": radius}, words)

    def text(
        self, kind: str, at: tuple[float, float], words: str, anchor: str = "start", most: int | None = None
    ) -> None:
        """One line of text whose base line is at `at`; `anchor` is start, middle or end.

        Of more than `most` signs the first are written, and all are shown where a mouse rests on them.
        """
        long = most is not None and len(words) > most
        added = self._add("text", kind, {"x": at[0], "y": at[1]})
        added.set("text-anchor", anchor)
        added.text = f"{words[: (most or 0) - 1].rstrip()}…" if long else words
        if long:
            ElementTree.SubElement(added, "title").text = words

    def markup(self) -> Markup:
        return Markup(ElementTree.tostring(self._root, encoding="unicode"))  # noqa: S704 (escaped by ElementTree)

    def _add(self, name: str, kind: str, numbers: dict[str, float], words: str = "") -> ElementTree.Element:
        attributes = {"class": kind} | {key: _number(value) for key, value in numbers.items()}
        added = ElementTree.SubElement(self._root, name, attributes)
        if words:
            ElementTree.SubElement(added, "title").text = words
        return added


def _number(value: float) -> str:
    return f"{value:.1f}".rstrip("0").rstrip(".")
