"""A Chromium on the review pages of a rig with real storage and the real sandbox."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Browser, BrowserContext, Page
from sqlalchemy import select

from tests.browser.chromium import NoChromium, chromium_running
from tests.browser.desk import Desk
from tests.browser.system import System, system_on
from tests.integration.conftest import Rig
from tests.integration.console import Console
from worker.domain import State
from worker.media.sandbox import ZygoteSandbox
from worker.review.reveal.reveals import Reveals
from worker.store.models import MatchRow, Review
from worker.store.people import Role

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from config.settings import Settings
    from worker.demo.embedded import Embedded

SIZE = (1600, 1200)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """The system's Chromium; skips where there is none."""
    try:
        with chromium_running() as browser:
            yield browser
    except NoChromium as missing:
        pytest.skip(str(missing))


@pytest.fixture
def rig(settings: Settings, s3: S3Client) -> Iterator[Rig]:
    index = settings.index.model_copy(update={"poll_every": 0.001})
    made = Rig(settings.model_copy(update={"index": index}), s3)
    yield made
    made.close()


@pytest.fixture
def review(rig: Rig, versioned_bucket: str) -> int:
    """A picture of 1600 x 1200 that is held by a match in its upper right quarter; its review."""
    body = rig.jpeg(rig.picture(1, SIZE))
    rig.bank_pdq(rig.hash_of(body), bank="own")
    _, state = rig.scan(versioned_bucket, "ann/1.jpg", body)
    assert state is State.HELD
    with rig.sessions.begin() as session:
        session.scalars(select(MatchRow)).one().region = [0.5, 0.0, 0.5, 0.5]
        return session.scalars(select(Review.id)).one()


@pytest.fixture
def console(rig: Rig) -> Iterator[Console]:
    """The pages, with pictures out of the real sandbox."""
    with ZygoteSandbox() as sandbox, ExitStack() as ending:
        assert sandbox.walls
        reveals = Reveals(rig.settings, rig.sessions, rig.parts.store, sandbox, sandbox)
        yield Console(rig.settings, rig.sessions, ending, reveals)


@pytest.fixture
def address(console: Console) -> str:
    """Where the pages are served."""
    return console.address


@pytest.fixture
def sign_in(console: Console) -> Callable[[BrowserContext], None]:
    """Puts into a browser what it holds in which maria is signed in."""
    _, client = console.signed_in("maria", Role.MINOR_SAFETY)

    def fill(context: BrowserContext) -> None:
        for cookie in client.cookies.jar:
            context.add_cookies([{"name": cookie.name, "value": cookie.value or "", "url": console.address}])

    return fill


@pytest.fixture
def page(chromium: Browser, address: str, sign_in: Callable[[BrowserContext], None]) -> Iterator[Page]:
    """A page of a browser in which maria is signed in."""
    context = chromium.new_context(base_url=address, has_touch=True)
    sign_in(context)
    context.set_default_timeout(15_000)
    yield context.new_page()
    context.close()


@pytest.fixture(scope="module")
def system(
    embedded: Embedded, template_database: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[System]:
    """A system of this module's own; its tests share it, each with people and uploads of its own."""
    for server in (embedded.valkey, embedded.moto):
        if not server.running:
            server.start()
    name = f"browser_{uuid.uuid4().hex}"
    database = embedded.postgres.create_database(name, template=template_database)
    with system_on(
        embedded, database, tmp_path_factory.mktemp("system"), bucket=name.replace("_", "-")
    ) as running:
        yield running
    embedded.postgres.drop_database(name)


@pytest.fixture
def desk(chromium: Browser, system: System) -> Iterator[Desk]:
    with ExitStack() as ending:
        yield Desk(chromium, system, ending)
