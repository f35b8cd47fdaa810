"""Every page of the running console says every text from the catalogue, in the language that was asked for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from fastapi.routing import APIRoute
from sqlalchemy import select, update

from config.errors import SettingsError
from tests.integration.console import Console, form_fields, hidden
from tests.integration.test_desk_pages import add_review
from tests.unit.review.pseudo import TAG, write_pseudo
from worker.domain import Kind, State
from worker.media.sandbox import ZygoteSandbox
from worker.review.languages import Languages
from worker.review.reveal.reveals import Reveals
from worker.store.hunts import HuntState, RetroHunt
from worker.store.minor_cases import MinorCase
from worker.store.models import Content, Demotion, MatchRow, Review, Upload
from worker.store.people import Role
from worker.store.views import View

if TYPE_CHECKING:
    from tests.integration.conftest import Rig

SPOKEN = ("aria-label", "title", "alt", "placeholder")
DATA = re.compile(
    r"""Hashwarden|UTC|\bCSV\b|\bpdq\b|\bvideo_md5\b|\bstopncii\b
    |\b\w+:[\w-]+                # who did it, as the history keeps it: reviewer:NAME, service:NAME
    |\b\S*\d\S*\b                 # ids, times, revisions, the head of the audit log
    """,
    re.VERBOSE,
)


class Texts(HTMLParser):
    """What a page says: its texts, and the attributes that are read aloud or given to its script."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in {"code", "kbd"}:
            self._open.append(tag)
        for name, value in attrs:
            if value and (name in SPOKEN or (name.startswith("data-") and " " in value)):
                self.found.append(value)

    def handle_endtag(self, tag: str) -> None:
        if self._open and self._open[-1] == tag:
            self._open.pop()

    def handle_data(self, data: str) -> None:
        # Commands and keys are the same in every language.
        self.found.append(" " if self._open else data)


def outside(page: str, *data: str) -> list[str]:
    """The words of a page that are in no catalogue and are none of `data`."""
    reader = Texts()
    reader.feed(page)
    text = "\n".join(reader.found)
    while "⟦" in text:
        shorter = re.sub("⟦[^⟦⟧]*⟧", " ", text)
        assert shorter != text, "brackets that do not close"
        text = shorter
    text = DATA.sub(" ", text)
    for each in data:
        text = re.sub(rf"(?<!\w){re.escape(each)}(?!\w)", " ", text)
    return re.findall(r"[^\W\d_]+", text)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[ZygoteSandbox]:
    with ZygoteSandbox() as made:
        yield made


@pytest.fixture
def ending() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def console_of(rig: Rig, ending: ExitStack, sandbox: ZygoteSandbox, languages: Languages) -> Console:
    reveals = Reveals(rig.settings, rig.sessions, rig.parts.store, sandbox, sandbox)
    return Console(rig.settings, rig.sessions, ending, reveals, languages)


def press(client: httpx.Client, page: str, action: str, **more: str) -> httpx.Response:
    """Sends the form of a page whose tag holds `action="..."`."""
    fields = form_fields(client.get(page).text, f'action="{action}"')
    assert fields, f"{page} has no form for {action}"
    return client.post(action, data=fields | more)


def decide(console: Console, client: httpx.Client, review: int, verdict: str) -> None:
    form = console.form_of(client, review)
    answer = client.post(f"/reviews/{review}", data=form | {"verdict": verdict, "reason": "123"})
    assert answer.status_code == 303, answer.text


def make_everything(
    rig: Rig, console: Console, bucket: str, ann: httpx.Client, bea: httpx.Client
) -> list[int]:
    """Reviews in every state and stage, beside what waits for a second person; the reviews' ids."""
    body = rig.jpeg(rig.picture(1))
    rig.bank_pdq(rig.hash_of(body))
    assert rig.scan(bucket, "1.jpg", body)[1] is State.HELD
    assert rig.scan(bucket, "2.pdf", b"%PDF-1.7 no picture")[1] is State.UNSUPPORTED
    assert rig.scan(bucket, "3.png", b"\x89PNG\r\n\x1a\n" + bytes(50))[1] is State.UNSCANNABLE
    plain, waiting, confirmed, released, minor, appealed, reported = (add_review(rig) for _ in range(7))
    with rig.sessions.begin() as session:
        content = session.get_one(Review, plain).content_id
        session.execute(
            update(MatchRow)
            .where(MatchRow.content_id == content)
            .values(view="complement_on_white_flip_horizontal", frame_time=83.5, region=[0.1, 0.1, 0.5, 0.5])
        )
        session.execute(update(Content).where(Content.id == content).values(kind=Kind.VIDEO))
        session.add(Demotion(bank="stopncii", entry_id=1, uploaders=30))
        hunt = {
            "epoch": 1,
            "from_snapshot": "1:1:",
            "to_snapshot": "2:2:",
            "entries": 3,
            "counts": {"stopncii": 3},
        }
        session.add(RetroHunt(state=HuntState.STOPPED, **hunt))
    decide(console, ann, confirmed, "confirmed")
    decide(console, bea, released, "lawful")
    decide(console, ann, minor, "suspected_minor")
    decide(console, bea, appealed, "confirmed")
    report(rig, console, ann, reported)
    with rig.sessions() as session:
        content = session.get_one(Review, appealed).content_id
        upload = session.scalars(select(Upload.id).where(Upload.content_id == content)).one()
    assert press(ann, f"/reviews/{appealed}", f"/uploads/{upload}/appeal", reason="123").status_code == 303
    press(ann, f"/reviews/{waiting}", f"/reviews/{waiting}/take")
    for kind, subject in (("lift_demotion", "1"), ("approve_hunt", "1")):
        form = hidden(ann.get("/proposals").text) | {"kind": kind, "subject_id": subject}
        assert ann.post("/proposals", data=form).status_code == 303
    return [plain, waiting, confirmed, released, minor, appealed, reported]


def report(rig: Rig, console: Console, client: httpx.Client, review: int) -> None:
    """A suspected minor that somebody had looked at, that an authority has, and whose overturn is proposed."""
    with rig.sessions.begin() as session:
        content = session.get_one(Review, review).content_id
        session.add(View(actor="1", review_id=review, content_id=content, rung=3, stills=1, region="cell-5"))
    decide(console, client, review, "suspected_minor")
    with rig.sessions() as session:
        case = session.scalars(select(MinorCase.id).where(MinorCase.review_id == review)).one()
    for step, said in (("reported", {"reference": "1"}), ("overturn", {"reason": "1"})):
        assert press(client, f"/minors/{case}", f"/minors/{case}/{step}", **said).status_code == 303


def pages_of(client: httpx.Client) -> dict[str, str]:
    """Every page that can be reached by links, by its address."""
    found: dict[str, str] = {}
    ways = ["/start", "/", "/break", "/minors"]
    while ways:
        address = ways.pop()
        if address in found or re.match("/static|/metrics|/health", address):
            continue
        answer = client.get(address)
        if answer.status_code == 303:
            ways.append(answer.headers["location"])
            continue
        assert answer.status_code == 200, address
        found[address] = answer.text
        links = (link.replace("&amp;", "&") for link in re.findall(r'href="(/[^"]*)"', answer.text))
        ways += [link for link in links if answer.headers["content-type"].startswith("text/html")]
    return found


FILES = re.compile(r"\.csv\?|/report$")
"""What is data, in one language for all."""

EVERYBODY = (Role.LEAD, Role.ADJUDICATOR, Role.MINOR_SAFETY, Role.AUDITOR, Role.ADMIN)


def test_no_page_says_a_word_that_is_in_no_catalogue(
    rig: Rig, ending: ExitStack, sandbox: ZygoteSandbox, versioned_bucket: str, tmp_path: Path
) -> None:
    rig.with_policy(second_review={"share": 0, "first_hit": False})
    console = console_of(rig, ending, sandbox, Languages(TAG, write_pseudo(tmp_path)))
    (first, ann), (second, bea) = (
        console.signed_in("1 a", *EVERYBODY),
        console.signed_in("2 b", Role.MINOR_SAFETY),
    )
    reviews = make_everything(rig, console, versioned_bucket, ann, bea)
    data = (first, second, versioned_bucket, "a", "b", "v", "test", "default")
    pages = pages_of(ann)
    assert {f"/reviews/{review}" for review in reviews} <= set(pages)
    pages |= {f"bea: {address}": page for address, page in pages_of(bea).items()}
    fields = hidden(pages[f"/reviews/{reviews[0]}"])
    pages["mosaic"] = ann.post(f"/reviews/{reviews[0]}/reveal", data=fields | {"rung": "1"}).text
    pages["sign-in"] = console.nobody.get("/sign-in").text
    pages["link"] = console.nobody.get("/sign-in/link/123").text
    pages["link again"] = console.nobody.post("/sign-in/link", data=hidden(pages["link"])).text
    pages["password"] = console.try_password("1", "2").text
    visited = [address.partition("?")[0] for address in pages]
    pages = {address: page for address, page in pages.items() if not FILES.search(address)}
    for address, page in pages.items():
        assert f'<html lang="{TAG}" dir="ltr">' in page, address
        assert "⟦" in page, address
    raw = {address: words for address, page in pages.items() if (words := outside(page, *data))}
    assert not raw, f"wrap these in _(...): {raw}"
    for route in pages_by_get(console):
        assert any(route.fullmatch(address) for address in visited), f"no link leads to {route.pattern}"


NOT_PAGES = re.compile(r"/static|/metrics|/health|/reveal/|/sign-in|/start|/oidc")


def pages_by_get(console: Console) -> list[re.Pattern[str]]:
    """The addresses that answer a page, as patterns."""
    paths = [
        route.path
        for route in console.app.routes
        if isinstance(route, APIRoute) and "GET" in (route.methods or ())
    ]
    return [re.compile(re.sub(r"\{\w+\}", "[^/]+", path)) for path in paths if not NOT_PAGES.match(path)]


GERMAN = {"accept-language": "de-DE,de;q=0.9,en;q=0.5"}


def test_a_browser_is_told_what_went_wrong_in_its_language(
    rig: Rig, ending: ExitStack, sandbox: ZygoteSandbox
) -> None:
    review = add_review(rig)
    console = console_of(rig, ending, sandbox, Languages("auto"))
    _, ann = console.signed_in("ann", Role.REVIEWER)
    _, bea = console.signed_in("bea", Role.REVIEWER)
    taken = console.form_of(ann, review)
    token = {"token": hidden(bea.get("/").text)["token"]}
    ann.headers.update(GERMAN)
    bea.headers.update(GERMAN)
    told = {
        "Diese Seite gibt es nicht.": bea.get("/nowhere"),
        "Diese Seite kann so nicht aufgerufen werden.": bea.get("/next"),
        "Es gibt keine Prüfung 999.": bea.get("/reviews/999"),
        "Es gibt keinen Upload 999.": bea.get("/uploads/999"),
        "Die Adresse oder das Formular gehört nicht zu diesen Seiten.": bea.get("/reviews/nonsense"),
        "Ihre Rollen erlauben das nicht.": bea.get("/people"),
        "Dieses Formular ist veraltet.": bea.post("/next", data={"token": "x"}),
        f"Die Prüfung {review} liegt bei jemand anderem.": bea.post(f"/reviews/{review}/take", data=token),
        f"Die Prüfung {review} liegt nicht mehr bei Ihnen": bea.post(
            f"/reviews/{review}", data=token | {"verdict": "lawful", "request_id": "1"}
        ),
        "Der Grund steht nicht auf der Liste.": ann.post(
            f"/reviews/{review}", data=taken | {"verdict": "lawful", "code": "none"}
        ),
        "Zu lang in der Entscheidung: Grund, mit 4001 Zeichen; erlaubt sind 4000.": ann.post(
            f"/reviews/{review}", data=taken | {"verdict": "lawful", "reason": "x" * 4001}
        ),
        "Das ist mehr, als ein Formular dieser Seiten sendet.": ann.post("/next", content=b"x" * 100_000),
        "Ihre Anmeldung ist abgelaufen.": console.nobody.post("/next", headers=GERMAN),
    }
    for sentence, answer in told.items():
        assert answer.status_code >= 400, sentence
        assert sentence in answer.text, answer.text
        assert '<html lang="de" dir="ltr">' in answer.text
    asked = bea.post(
        "/reviews/999/reveal",
        data={"token": token["token"], "rung": "1"},
        headers={"accept": "application/json"},
    )
    assert asked.json() == {"problem": "Es gibt keine Prüfung 999."}


def test_two_browsers_read_the_same_page_in_two_languages(
    rig: Rig, ending: ExitStack, sandbox: ZygoteSandbox
) -> None:
    console = console_of(rig, ending, sandbox, Languages("auto"))
    _, ann = console.signed_in("ann", Role.REVIEWER)
    wishes = ["de", "en"] * 20
    with ThreadPoolExecutor(8) as pool:
        pages = list(pool.map(lambda wish: ann.get("/", headers={"accept-language": wish}).text, wishes))
    for wish, page in zip(wishes, pages, strict=True):
        assert f'<html lang="{wish}" dir="ltr">' in page
        assert ("Offene Prüfungen" if wish == "de" else "Open reviews") in page
    assert "<h1>Anmelden</h1>" in console.nobody.get("/sign-in", headers=GERMAN).text


def test_a_fixed_language_is_every_browsers(rig: Rig, ending: ExitStack) -> None:
    settings = rig.settings.model_copy(
        update={"review": rig.settings.review.model_copy(update={"language": "de"})}
    )
    console = Console(settings, rig.sessions, ending)
    assert "<h1>Anmelden</h1>" in console.nobody.get("/sign-in", headers={"accept-language": "en"}).text


def test_a_language_that_is_not_there_ends_the_start(rig: Rig, ending: ExitStack) -> None:
    settings = rig.settings.model_copy(
        update={"review": rig.settings.review.model_copy(update={"language": "tlh"})}
    )
    with pytest.raises(SettingsError, match=r"review\.language is tlh"):
        Console(settings, rig.sessions, ending)
