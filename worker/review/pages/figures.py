"""The page of figures, and each of them as CSV."""

from __future__ import annotations

from datetime import datetime

from fastapi import APIRouter, Depends, HTTPException, Request, Response
from fastapi.responses import HTMLResponse

from config.words import _
from worker.domain import Verdict
from worker.review.figures.csv_text import MEDIA_TYPE, csv_text, file_name
from worker.review.figures.figures import FIGURES, read_all
from worker.review.figures.headlines import headlines
from worker.review.figures.period import Days, Period
from worker.review.figures.snapshot import Snapshots
from worker.review.figures.wilson import FEW
from worker.review.names import name_of
from worker.review.pages.doors import Asks, Doors, of_visitor
from worker.review.pages.rendering import render
from worker.review.people.permissions import May
from worker.review.plots import over_time, say, side_by_side
from worker.review.plots.canvas import Told

_NAMES_OF_THEIR_OWN = frozenset({"bank", "deadline", "pseudonym"})


class FigurePages:
    """The routes; each asks for a role, and the figures of single persons for one more."""

    def __init__(self, snapshots: Snapshots, doors: Doors) -> None:
        self._snapshots = snapshots
        self._doors = doors

    def router(self) -> APIRouter:
        made = APIRouter(
            dependencies=[Depends(self._doors.enter), Depends(self._doors.check_form)],
            default_response_class=HTMLResponse,
        )
        sees = [Depends(Asks(May.SEE_FIGURES))]
        made.get("/figures", dependencies=sees)(self.figures)
        made.get("/figures/{name}.csv", dependencies=sees)(self.csv)
        return made

    def figures(self, request: Request, days: Days = Days.MONTH) -> str:
        may = request.state.visitor.may
        with self._snapshots.of(days) as asked:
            rows = read_all(asked, may)
        sheets = {
            name: (
                figure.columns,
                [list(map(_shown, figure.columns, figure.cells(row))) for row in rows[name]],
            )
            for name, figure in FIGURES.items()
            if name in rows
        }
        return render(
            "figures.html",
            **of_visitor(request),
            period=asked.period,
            periods=[int(each) for each in Days],
            labels=[_label(asked.period, begin) for begin in asked.period.begins],
            rows=rows,
            sheets=sheets,
            head=headlines(rows),
            verdicts=list(Verdict),
            few=FEW,
            say=say,
            columns=over_time.columns,
            lines=over_time.lines,
            bars=side_by_side.bars,
            intervals=side_by_side.intervals,
            Told=Told,
            Series=over_time.Series,
            Bar=side_by_side.Bar,
            Interval=side_by_side.Interval,
        )

    def csv(self, request: Request, name: str, days: Days = Days.MONTH) -> Response:
        figure = FIGURES.get(name)
        if figure is None:
            raise HTTPException(404, _("There is no figure of this name. The page of figures links to each."))
        Asks(figure.asks)(request)
        with self._snapshots.of(days) as asked:
            rows = figure.read(asked)
        return Response(
            csv_text(figure.columns, map(figure.cells, rows)),
            media_type=MEDIA_TYPE,
            headers={"Content-Disposition": f'attachment; filename="{file_name(name, days)}"'},
        )


def _shown(column: str, value: object) -> object:
    """A value as the page shows it: a code by its name, but nobody's own name by another."""
    return name_of(value) if isinstance(value, str) and column not in _NAMES_OF_THEIR_OWN else value


def _label(period: Period, begin: datetime) -> str:
    return begin.strftime("%H:%M" if period.days is Days.ONE else "%m-%d")
