"""Renders the pages from their templates."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from worker.domain import State
from worker.operate.health import words


def _when(moment: datetime | None) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S") if moment else ""


def _frame_time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds, 1), 60)
    return f"{minutes:.0f} min {rest:04.1f} s" if minutes else f"{rest:.1f} s"


def _clock(seconds: float) -> str:
    """Hours and minutes, or minutes and seconds under an hour: what a countdown shows."""
    whole = abs(int(seconds))
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 60} min {whole % 60:02d} s"


def _templates() -> Environment:
    made = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        # They come with the program: looking for changes costs a page of fifty rows hundreds of looks.
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
    )
    made.install_null_translations()  # type: ignore[attr-defined]
    made.filters["age"] = words
    made.filters["when"] = _when
    made.filters["frame_time"] = _frame_time
    made.filters["clock"] = _clock
    made.globals["states"] = [state.value for state in State]
    return made


_TEMPLATES = _templates()


def render(name: str, **values: Any) -> str:  # noqa: ANN401 (what the template reads)
    return _TEMPLATES.get_template(name).render(**values)
