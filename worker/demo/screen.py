"""What the demonstration prints: headings, tables, ticks; redrawn in place on a terminal, plain lines elsewhere.

It shows results and never makes any: each tick is a comparison that the caller made.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from worker.domain import State

if TYPE_CHECKING:
    from worker.demo.scenario import Planned
    from worker.demo.watch import Seen

_STYLES = {
    State.HELD: "yellow",
    State.FLAGGED: "yellow",
    State.CLEAR: "green",
    State.RELEASED: "green",
    State.REMOVED: "magenta",
    State.UNSUPPORTED: "cyan",
    State.UNSCANNABLE: "cyan",
}
_WIDE = 100
_EVERY = 0.15
"""Seconds between two looks."""


class Screen:
    """Prints the acts and remembers what did not come out as expected."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False)
        utf = (self.console.encoding or "").lower().startswith("utf")
        self._yes, self._no = ("✓", "✗") if utf else ("ok", "NOT")
        self._ellipsis = "…" if utf else "..."
        self._acts = 0
        self._started = time.monotonic()
        self.failures: list[str] = []
        self.checks = 0

    def act(self, title: str, sentence: str) -> None:
        self._acts += 1
        elapsed = f"  at {time.monotonic() - self._started:.0f} s"
        heading = Text(f"{self._acts:>2}  {title}", style="bold").append(elapsed, style="not bold dim")
        self.print(Text(""), heading, _indented(sentence))

    def say(self, sentence: str) -> None:
        self.print(_indented(sentence))

    def print(self, *what: RenderableType) -> None:
        """Prints; where no terminal pads the lines away, without blanks at their ends."""
        if self.console.is_terminal:
            self.console.print(*what, sep="\n")
            return
        with self.console.capture() as captured:
            self.console.print(*what, sep="\n")
        lines = (line.rstrip() for line in captured.get().splitlines())
        self.console.file.write("".join(f"{line}\n" for line in lines))
        self.console.file.flush()

    def check(self, right: bool, sentence: str, otherwise: str = "") -> None:
        """A tick before the sentence, or a cross and what was found instead."""
        self.checks += 1
        if not right:
            self.failures.append(sentence)
        text = sentence if right or not otherwise else f"{sentence}: {otherwise}"
        sign = self._yes if right else self._no
        self.print(_indented(text, sign=sign, style="green" if right else "bold red"))

    def table(
        self, columns: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()
    ) -> None:
        made = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
        for at, column in enumerate(columns):
            made.add_column(column, overflow="fold", justify="right" if at in right else "left")
        for row in rows:
            made.add_row(*(Text(cell) for cell in row))
        self.print(_shifted(made))

    def pairs(self, rows: Sequence[tuple[str, str]]) -> None:
        """Names and values; a value is never broken, so that it can be copied."""
        width = max(len(name) for name, _ in rows)
        for name, value in rows:
            self.console.print(f"    {name:<{width}}  {value}", soft_wrap=True, markup=False)

    def uploads(self, planned: Sequence[Planned], seen: Mapping[str, Seen]) -> None:
        """The table of uploads: what each is, what was expected, what was reached, the nearest match, the time."""
        self.print(_shifted(self._uploads(planned, seen)))

    def follow(
        self,
        planned: Sequence[Planned],
        look: Callable[[], Mapping[str, Seen]],
        *,
        seconds: float,
    ) -> Mapping[str, Seen]:
        """Looks until all uploads are settled, redrawing on a terminal; then prints the whole table once."""
        until = time.monotonic() + seconds
        if not self.console.is_terminal:
            seen = self._until_settled(planned, look, until, lambda _: None)
        else:
            with Live(console=self.console, auto_refresh=False, transient=True) as live:

                def draw(now: Mapping[str, Seen]) -> None:
                    live.update(self._under_way(planned, now), refresh=True)

                seen = self._until_settled(planned, look, until, draw)
        self.uploads(planned, seen)
        return seen

    def wait(self, condition: Callable[[], bool], seconds: float = 60.0) -> bool:
        """Whether the condition came true in time."""
        until = time.monotonic() + seconds
        while not condition():
            if time.monotonic() >= until:
                return False
            time.sleep(_EVERY)
        return True

    def _until_settled(
        self,
        planned: Sequence[Planned],
        look: Callable[[], Mapping[str, Seen]],
        until: float,
        draw: Callable[[Mapping[str, Seen]], None],
    ) -> Mapping[str, Seen]:
        while True:
            seen = look()
            draw(seen)
            settled = sum(1 for upload in planned if upload.key in seen and seen[upload.key].settled)
            if settled == len(planned) or time.monotonic() >= until:
                return seen
            time.sleep(_EVERY)

    def _under_way(self, planned: Sequence[Planned], seen: Mapping[str, Seen]) -> RenderableType:
        """As many rows as the terminal holds: those still under way, and before them the ones just settled."""
        done = [upload for upload in planned if upload.key in seen and seen[upload.key].settled]
        done.sort(key=lambda upload: seen[upload.key].milliseconds or 0.0)
        waiting = [upload for upload in planned if upload not in done]
        rows = max(4, self.console.height - 6)
        shown = [*done, *waiting]
        start = max(0, min(len(done) - rows // 2, len(shown) - rows))
        line = Text(f"    {len(done)} of {len(planned)} have reached their state", style="dim")
        return Group(_shifted(self._uploads(shown[start : start + rows], seen)), line)

    def _uploads(self, planned: Sequence[Planned], seen: Mapping[str, Seen]) -> Table:
        wide = self.console.width >= _WIDE
        made = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
        made.add_column("Upload", overflow="fold", ratio=None if wide else 5)
        if wide:
            made.add_column("Expected", no_wrap=True)
        made.add_column("Reached" if wide else "State", no_wrap=True)
        made.add_column("Nearest match, or why not", overflow="fold")
        made.add_column("ms", justify="right", no_wrap=True)
        for upload in planned:
            found = seen.get(upload.key)
            cells = [Text(upload.what)]
            if wide:
                cells.append(Text(upload.expected.value, style="dim"))
            if found is None:
                made.add_row(*cells, Text(f"on its way{self._ellipsis}", style="dim"), Text(""), Text(""))
                continue
            why = found.matches[0].words if found.matches else found.reason.replace("_", " ")
            time_taken = f"{found.milliseconds:.0f}" if found.settled and found.milliseconds else ""
            made.add_row(*cells, self._reached(upload, found, wide=wide), Text(why), Text(time_taken))
        return made

    def _reached(self, upload: Planned, found: Seen, *, wide: bool) -> Text:
        style = _STYLES.get(found.state, "dim")
        text = Text(found.state.value, style=style)
        if not found.settled:
            return text
        if found.state is upload.expected:
            return text.append(f" {self._yes}", style="green")
        expected = "" if wide else f" not {upload.expected.value}"
        return text.append(f" {self._no}{expected}", style="bold red")


def _indented(sentence: str, *, sign: str = "", style: str = "") -> Table:
    """Wrapped text behind a margin that holds the sign."""
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=3, justify="right", no_wrap=True)
    grid.add_column()
    grid.add_row(Text(sign, style=style), Text(sentence))
    return grid


def _shifted(table: Table) -> Table:
    grid = Table.grid()
    grid.add_column(width=4)
    grid.add_column()
    grid.add_row("", table)
    return grid


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of them does not exceed; 0 without values."""
    ordered = sorted(values)
    if not ordered:
        return 0.0
    return ordered[max(0, min(len(ordered) - 1, -(-int(share * 100) * len(ordered) // 100) - 1))]
