"""The review pages on a real socket, and people who are signed in to them."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import httpx
import uvicorn
from starlette.types import ASGIApp

from config.database import Sessions
from config.settings import Settings
from worker.domain import Lane
from worker.review.app import make_app
from worker.review.languages import Languages
from worker.review.people import entrance, people
from worker.review.reveal.reveals import Reveals
from worker.store.people import Role


@contextmanager
def served(app: ASGIApp) -> Iterator[str]:
    """The application on a real socket of this host; its address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


def hidden(page: str) -> dict[str, str]:
    """The hidden fields of the last form of a page: that of the header stands before it."""
    return dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]+)"', page))


def form_fields(page: str, form: str) -> dict[str, str]:
    """The hidden fields of the form of a page whose tag holds this text; none without the form."""
    for tag, inside in re.findall(r"<form([^>]*)>(.*?)</form>", page, re.DOTALL):
        if form in tag:
            return dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', inside))
    return {}


class Console:
    """The application on a socket; `nobody` is a client that is not signed in."""

    def __init__(
        self,
        settings: Settings,
        sessions: Sessions,
        ending: ExitStack,
        reveals: Reveals | None = None,
        languages: Languages | None = None,
    ) -> None:
        self.settings = settings
        self.sessions = sessions
        self.woken: list[tuple[int, Lane]] = []
        self.app = make_app(settings, sessions, self._wake, reveals=reveals, languages=languages)
        self.address = ending.enter_context(served(self.app))
        self._ending = ending
        self.nobody = self.client()

    def _wake(self, moved: Sequence[tuple[int, Lane]]) -> None:
        self.woken += moved

    def client(self) -> httpx.Client:
        return self._ending.enter_context(httpx.Client(base_url=self.address, timeout=30))

    def signed_in(self, name: str, *roles: Role) -> tuple[str, httpx.Client]:
        """A new person's pseudonym, and a client that came in by a link."""
        with self.sessions.begin() as session:
            person = people.add(session, name, roles, actor="test")
            link = entrance.make_link(session, person, 1, actor="test")
        client = self.client()
        form = hidden(client.get(f"/sign-in/link/{link}").text)
        assert client.post("/sign-in/link", data=form).headers["location"] == "/start"
        return person.pseudonym, client

    def form_of(self, client: httpx.Client, review_id: int) -> dict[str, str]:
        """The hidden fields of a review's form by which this client decides, once it has taken the review."""
        page = f"/reviews/{review_id}"
        taking = form_fields(client.get(page).text, f'action="{page}/take"')
        if taking:
            client.post(f"{page}/take", data=taking)
        return form_fields(client.get(page).text, f'action="{page}" id="verdicts"')

    def try_password(self, name: str, password: str, client: httpx.Client | None = None) -> httpx.Response:
        """What the sign-in form answers."""
        client = client or self.nobody
        form = hidden(client.get("/sign-in").text)
        return client.post("/sign-in", data=form | {"name": name, "password": password})
