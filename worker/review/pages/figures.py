"""The page of figures, and each of them as CSV."""

from __future__ import annotations

from datetime import datetime

from fastapi import APIRouter, Depends, HTTPException, Request, Response
from fastapi.responses import HTMLResponse
from sqlalchemy import text
from sqlalchemy.orm import Session

from config.database import Sessions
from config.settings import Settings
from config.words import _
from worker.domain import Verdict
from worker.review.figures.csv_text import csv_text
from worker.review.figures.figures import FIGURES, read_all
from worker.review.figures.headlines import headlines
from worker.review.figures.period import Asked, Days, Period, period_until_now
from worker.review.figures.wilson import FEW
from worker.review.names import name_of
from worker.review.pages.doors import Asks, Doors, of_visitor
from worker.review.pages.rendering import render
from worker.review.people.permissions import May
from worker.review.plots import over_time, say, side_by_side
from worker.review.plots.canvas import Told
from worker.review.reveal.exposure import SHOWN_SECONDS

_NAMES_OF_THEIR_OWN = frozenset({"bank", "deadline", "pseudonym"})


class FigurePages:
    """The routes; each asks for a role, and the figures of single persons for one more."""

    def __init__(self, settings: Settings, sessions: Sessions, doors: Doors) -> None:
        self._clocks = {name: profile.hours for name, profile in settings.deadlines.profiles.items()}
        self._sessions = sessions
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
        with self._sessions() as session:
            asked = self._asked(session, days)
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
        with self._sessions() as session:
            rows = figure.read(self._asked(session, days))
        return Response(
            csv_text(figure.columns, map(figure.cells, rows)),
            media_type="text/csv; charset=utf-8; header=present",
            headers={"Content-Disposition": f'attachment; filename="hashwarden-{name}-{int(days)}-days.csv"'},
        )

    def _asked(self, session: Session, days: Days) -> Asked:
        # One moment for all figures of a page, so that they agree with each other.
        session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
        # Sorts in memory; and no compiling of queries that take less time than that does.
        session.execute(text("SET LOCAL work_mem = '64MB'"))
        session.execute(text("SET LOCAL jit = off"))
        shown = {int(rung): seconds for rung, seconds in SHOWN_SECONDS.items()}
        return Asked(session, period_until_now(session, days), self._clocks, shown)


def _shown(column: str, value: object) -> object:
    """A value as the page shows it: a code by its name, but nobody's own name by another."""
    return name_of(value) if isinstance(value, str) and column not in _NAMES_OF_THEIR_OWN else value


def _label(period: Period, begin: datetime) -> str:
    return begin.strftime("%H:%M" if period.days is Days.ONE else "%m-%d")
