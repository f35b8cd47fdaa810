"""The figures of the desk: which there are, and each as JSON and as CSV."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Response
from pydantic import Field

from worker.review.api.bearer import Caller, Needs
from worker.review.api.values import Responses, Strict
from worker.review.faults import NotThereError
from worker.review.figures.csv_text import MEDIA_TYPE, csv_text, file_name
from worker.review.figures.figures import FIGURES, Figure
from worker.review.figures.period import Days
from worker.review.figures.snapshot import Snapshots
from worker.review.figures.units import Unit, units_of
from worker.review.people.permissions import May

_Name = Annotated[str, Path(json_schema_extra={"enum": list(FIGURES)})]
_Back = Annotated[
    Days, Query(description="How many days back, today included; 1: the last 24 hours, hour by hour.")
]


class Column(Strict):
    name: str
    unit: Unit = Field(
        description="text; time, of UTC; count; seconds; share, from 0 to 1; or per_100: for each hundred."
    )


class FigureLine(Strict):
    """One figure; docs/reference/figures.md says what each column counts."""

    name: str
    columns: list[Column]
    allowed: bool = Field(
        description="The token may read it: that of single persons needs `see_each_person`."
    )


class FigureList(Strict):
    figures: list[FigureLine]


class FigureAnswer(Strict):
    name: str
    days: int = Field(description="That the figure is of. Some figures are of this moment whatever it says.")
    begin: datetime = Field(description="Of the period; it ends now.")
    columns: list[Column]
    rows: list[dict[str, datetime | int | float | str | None]] = Field(
        description="Values by column; null where there was nothing to count."
    )


class FigureOperations:
    """The operations on figures; they change nothing."""

    def __init__(self, snapshots: Snapshots) -> None:
        self._snapshots = snapshots

    def router(self) -> APIRouter:
        made = APIRouter(tags=["figures"])
        sees = [Depends(Needs(May.SEE_FIGURES))]
        absent: Responses = {404: {"description": "There is no figure of this name."}}
        made.get("/figures", dependencies=sees)(self.figures)
        # Before the next one, whose name would take the ending.
        made.get(
            "/figures/{name}.csv",
            dependencies=sees,
            response_class=Csv,
            responses={**absent, 200: {"description": "RFC 4180: a line of names, then one line a row."}},
        )(self.figure_csv)
        made.get("/figures/{name}", dependencies=sees, responses=absent)(self.figure)
        return made

    def figures(self, caller: Caller) -> FigureList:
        """Which figures there are, with the unit of each column."""
        return FigureList(
            figures=[
                FigureLine(name=name, columns=_columns(figure), allowed=caller.may(figure.asks))
                for name, figure in FIGURES.items()
            ]
        )

    def figure(self, caller: Caller, name: _Name, days: _Back = Days.MONTH) -> FigureAnswer:
        """One figure. That of single persons needs `see_each_person` as well."""
        figure = _allowed(caller, name)
        with self._snapshots.of(days) as asked:
            rows = figure.read(asked)
            begin = asked.period.begin
        return FigureAnswer(
            name=name,
            days=int(days),
            begin=begin,
            columns=_columns(figure),
            rows=[_by_column(figure, row) for row in rows],
        )

    def figure_csv(self, caller: Caller, name: _Name, days: _Back = Days.MONTH) -> Response:
        """One figure as CSV."""
        figure = _allowed(caller, name)
        with self._snapshots.of(days) as asked:
            rows = figure.read(asked)
        return Csv(
            csv_text(figure.columns, map(figure.cells, rows)),
            headers={"Content-Disposition": f'attachment; filename="{file_name(name, days)}"'},
        )


class Csv(Response):
    media_type = MEDIA_TYPE


def _allowed(caller: Caller, name: str) -> Figure:
    figure = FIGURES.get(name)
    if figure is None:
        raise NotThereError("There is no figure of this name.", next_step="GET /figures lists them.")
    Needs(figure.asks)(caller)
    return figure


def _columns(figure: Figure) -> list[Column]:
    return [Column(name=name, unit=unit) for name, unit in units_of(figure).items()]


def _by_column(figure: Figure, row: object) -> dict[str, Any]:
    return dict(zip(figure.columns, figure.cells(row), strict=True))
