"""How much was looked at: pictures shown, by rung, and for each person for those who lead them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import case, func, select

from worker.media.rungs import Rung
from worker.review.figures.decisions import decided_in
from worker.review.figures.period import Asked
from worker.store.desk import Opinion
from worker.store.models import DecisionRow
from worker.store.views import View

RUNGS = tuple(rung for rung in Rung if rung is not Rung.FACTS)


@dataclass(frozen=True, slots=True)
class Views:
    """Looks at one rung in the period; the share of decisions is None where none was taken."""

    rung: str
    views: int
    views_per_100_decisions: float | None
    seconds_shown: float


@dataclass(frozen=True, slots=True)
class ViewsByPerson:
    """Looks of one person. `verdicts` are those that they gave, opinions that wait for another person included."""

    pseudonym: str
    verdicts: int
    mosaic: int
    grey: int
    peek: int
    whole: int
    views_per_100_verdicts: float | None
    seconds_shown: float
    seconds_shown_sharp: float


def views(asked: Asked) -> Sequence[Views]:
    """The rungs from the lowest on."""
    decided = decided_in(asked)
    looks = asked.once(_looks)
    made = []
    for rung in RUNGS:
        number = sum(found[0] for key, found in looks.items() if key[1] == rung)
        seconds = sum(found[1] for key, found in looks.items() if key[1] == rung)
        made.append(Views(rung.name.lower(), number, _per_100(number, decided), seconds))
    return made


def views_by_person(asked: Asked) -> Sequence[ViewsByPerson]:
    """Everybody who looked or gave a verdict, by pseudonym and never by number: nobody is ranked."""
    looks = asked.once(_looks)
    verdicts = _verdicts(asked)
    made = []
    for actor in sorted({key[0] for key in looks} | set(verdicts)):
        mine = {rung: looks.get((actor, rung), (0, 0.0)) for rung in RUNGS}
        number = sum(found for found, _ in mine.values())
        made.append(
            ViewsByPerson(
                actor,
                verdicts[actor],
                mosaic=mine[Rung.MOSAIC][0],
                grey=mine[Rung.GREY][0],
                peek=mine[Rung.PEEK][0],
                whole=mine[Rung.WHOLE][0],
                views_per_100_verdicts=_per_100(number, verdicts[actor]),
                seconds_shown=sum(seconds for _, seconds in mine.values()),
                seconds_shown_sharp=mine[Rung.PEEK][1] + mine[Rung.WHOLE][1],
            )
        )
    return made


def _looks(asked: Asked) -> dict[tuple[str, int], tuple[int, float]]:
    """Looks and their seconds by actor and rung."""
    untold = case(*((View.rung == rung, seconds) for rung, seconds in asked.shown.items()), else_=0.0)
    seconds = func.sum(func.coalesce(View.seconds, untold))
    rows = asked.session.execute(
        select(View.actor, View.rung, func.count(), seconds)
        .where(View.at >= asked.period.begin)
        .group_by(View.actor, View.rung)
    )
    return {(actor, rung): (number, float(shown)) for actor, rung, number, shown in rows}


def _verdicts(asked: Asked) -> Counter[str]:
    given: Counter[str] = Counter()
    enacted = select(DecisionRow.actor, func.count()).where(
        DecisionRow.at >= asked.period.begin, DecisionRow.kind == "verdict"
    )
    opinions = select(Opinion.actor, func.count()).where(Opinion.at >= asked.period.begin)
    for query in (enacted.group_by(DecisionRow.actor), opinions.group_by(Opinion.actor)):
        for actor, number in asked.session.execute(query):
            given[actor] += number
    return given


def _per_100(number: int, of: int) -> float | None:
    return 100 * number / of if of else None
