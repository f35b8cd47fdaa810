"""How soon the console's pages answer while many reviewers work, with many reviews waiting.

One process serves the pages, as in production. Another one plays the reviewers: each takes the next review, reads it,
decides, and looks at the queue again, with pauses as short as no person's.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import re
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing.connection import Connection

import httpx
import numpy as np
from sqlalchemy import func, select

from config.database import Sessions
from config.policy import BankSettings
from config.settings import Settings
from worker.bench.figures import HASHWARDEN, Figure
from worker.domain import State
from worker.operate.serve import Place, serve
from worker.review.app import make_app
from worker.review.people import entrance, people
from worker.store.models import Content, MatchRow, Review, Upload
from worker.store.people import Role

DESK_SETTINGS = {
    "review": {"port": 0},
    "banks": {name: BankSettings(exchange="stopncii") for name in ("first", "second", "third")},
}
"""Banks by which the queue can be narrowed down, and any free port."""

_PAUSE = (0.5, 2.0)
"""Seconds that a played reviewer looks at a page, at least and at most."""

_HIDDEN = re.compile(r'type="hidden" name="(\w+)" value="([^"]*)"')
_FORM = re.compile(r"<form([^>]*)>(.*?)</form>", re.DOTALL)


@dataclass(frozen=True, slots=True)
class _Work:
    """What the playing process is told: where the pages are, one sign-in link a reviewer, and for how long."""

    address: str
    links: tuple[str, ...]
    seconds: float


def desk_figures(
    sessions: Sessions, settings: Settings, waiting: int, reviewers: int, seconds: float
) -> Iterator[Figure]:
    """Fills an empty database with so many waiting reviews and lets so many reviewers work for so long.

    Decided reviews are replaced while the work goes on: as many wait at the end as at the beginning.
    """
    _fill(sessions, settings, 0, waiting)
    with sessions.begin() as session:
        links = []
        for number in range(reviewers):
            person = people.add(session, f"reviewer {number}", [Role.REVIEWER], actor="bench")
            links.append(entrance.make_link(session, person, 1, actor="bench"))
    stop, ready, address = threading.Event(), threading.Event(), [""]

    def listens(where: str) -> None:
        address[0] = where
        ready.set()

    app = make_app(settings, sessions, lambda _moved: None)
    place = Place("review pages", "review", settings.review.host, settings.review.port, settings.review.tls)
    serving = threading.Thread(target=serve, args=(app, place, stop, listens))
    serving.start()
    ready.wait()
    spawn = multiprocessing.get_context("spawn")
    mine, theirs = spawn.Pipe()
    playing = spawn.Process(
        target=_play, args=(_Work(address[0], tuple(links), seconds), theirs), daemon=True
    )
    playing.start()
    made = waiting
    while playing.is_alive() and not mine.poll(1.0):
        with sessions() as session:
            open_now = session.scalar(select(func.count()).where(Review.state == "open"))
        missing = waiting - (open_now or 0)
        _fill(sessions, settings, made, missing)
        made += max(0, missing)
    stop.set()
    serving.join()
    if not mine.poll():
        raise RuntimeError("the process that plays the reviewers ended early; it wrote why")
    spent: dict[str, list[float]] = mine.recv()
    playing.join()
    about = {"waiting": waiting, "reviewers": reviewers, "seconds": seconds}
    for page, times in sorted(spent.items()):
        yield Figure(HASHWARDEN, "answers", len(times), "answers", {**about, "page": page})
        for statistic, share in (("p50", 50), ("p95", 95), ("p99", 99)):
            value = round(1000 * float(np.percentile(times, share)), 1)
            yield Figure(HASHWARDEN, "answer", value, "ms", {**about, "page": page, "statistic": statistic})


def _fill(sessions: Sessions, settings: Settings, first: int, number: int) -> None:
    """So many held uploads whose reviews wait: of three banks, some of two, some with copies."""
    chance = np.random.default_rng(first)
    banks = sorted(settings.banks)
    with sessions.begin() as session:
        for each in range(first, first + number):
            content = Content(sha256=hashlib.sha256(b"%d" % each).digest(), kind="image", size=200_000 + each)
            content.uploads = [
                Upload(bucket="photos", key=f"{each}/{copy}.jpg", version_id="1", state=State.HELD)
                for copy in range(int(chance.choice((1, 1, 1, 2, 5))))
            ]
            distance = int(chance.integers(0, 40))
            content.matches = [
                MatchRow(
                    entry_id=3 * each + place,
                    bank=bank,
                    signal_type="pdq",
                    distance=distance + place,
                    view="whole",
                    effect="hold" if distance < 32 else "flag",
                    index_epoch=1,
                )
                for place, bank in enumerate(chance.permutation(banks)[: chance.choice((1, 1, 2))].tolist())
            ]
            content.review = Review(
                cause="match",
                nearest=distance,
                due_at=func.clock_timestamp() + timedelta(hours=chance.uniform(1, 48)),
            )
            session.add(content)


def _play(work: _Work, told: Connection) -> None:
    until = time.monotonic() + work.seconds

    def play(seed: int) -> dict[str, list[float]]:
        return _Reviewer(work.address, work.links[seed], seed).work(until)

    with ThreadPoolExecutor(len(work.links)) as threads:
        played = threads.map(play, range(len(work.links)))
        spent: dict[str, list[float]] = defaultdict(list)
        for each in played:
            for page, times in each.items():
                spent[page] += times
    told.send(dict(spent))


class _Reviewer:
    """One person with a browser."""

    def __init__(self, address: str, link: str, seed: int) -> None:
        self._browser = httpx.Client(base_url=address, timeout=60)
        self._spent: dict[str, list[float]] = defaultdict(list)
        page = self._browser.get(f"/sign-in/link/{link}").text
        self._browser.post("/sign-in/link", data=_fields(page, "")).headers["location"]
        self._chance = np.random.default_rng(seed)

    def work(self, until: float) -> dict[str, list[float]]:
        """Decides until the time is over; by page, the seconds that each answer took."""
        time.sleep(self._chance.uniform(0, _PAUSE[1]))
        with closing(self._browser):
            while time.monotonic() < until:
                self._decide_next()
        return self._spent

    def _decide_next(self) -> None:
        queue = self._timed("queue", "GET", "/").text
        self._look()
        taken = self._timed("take", "POST", "/next", _fields(queue, 'action="/next"')).headers["location"]
        if taken == "/":
            return
        review = self._timed("review", "GET", taken).text
        fields = _fields(review, 'id="verdicts"')
        self._look()
        self._timed("alive", "POST", f"{taken}/alive", {name: fields[name] for name in ("token", "claim")})
        self._look()
        verdict = str(self._chance.choice(("confirmed", "not_a_match")))
        self._timed("decide", "POST", taken, {**fields, "verdict": verdict})

    def _look(self) -> None:
        time.sleep(self._chance.uniform(*_PAUSE))

    def _timed(
        self, page: str, method: str, address: str, form: dict[str, str] | None = None
    ) -> httpx.Response:
        begun = time.monotonic()
        answer = self._browser.request(method, address, data=form)
        self._spent[page].append(time.monotonic() - begun)
        if answer.is_error:
            raise RuntimeError(f"{method} {page} answered {answer.status_code}")
        return answer


def _fields(page: str, form: str) -> dict[str, str]:
    """The hidden fields of the last form whose tag holds this text."""
    found: Sequence[str] = [inside for tag, inside in _FORM.findall(page) if form in tag]
    return dict(_HIDDEN.findall(found[-1]))
