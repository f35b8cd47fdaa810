"""The application of the console: its pages, its API, probes, metrics and static files.

Every page needs a sign-in and a role that allows it; whatever changes something also needs a form of the same sign-in.
"""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.staticfiles import StaticFiles
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException as StarletteHTTPException

from bank_sync.epoch import Pointer, read_pointer
from config.database import Sessions
from config.settings import Settings
from worker.operate.metrics import Metrics
from worker.operate.probes import router as probes
from worker.review.api.app import ApiMount, make_api
from worker.review.desk.desk import Desk, Wake
from worker.review.desk.minor_desk import MinorDesk
from worker.review.figures.snapshot import Snapshots
from worker.review.languages import Languages
from worker.review.pages.answers import Answers
from worker.review.pages.desk import DeskPages
from worker.review.pages.doors import Doors, headers_of
from worker.review.pages.figures import FigurePages
from worker.review.pages.me import MePages
from worker.review.pages.minors import MinorPages
from worker.review.pages.office import OfficePages
from worker.review.pages.reveal import RevealPages
from worker.review.pages.sign_in import SignInPages
from worker.review.pages.uploads import UploadPages
from worker.review.reveal.exposure import SHOWN_SECONDS
from worker.review.reveal.reveals import Reveals


def make_app(
    settings: Settings,
    sessions: Sessions,
    wake: Wake,
    *,
    metrics: Metrics | None = None,
    reveals: Reveals | None = None,
    languages: Languages | None = None,
) -> FastAPI:
    """The application: pages behind a sign-in; probes, metrics and static files are open.

    Without `reveals` no page offers to show a picture; without `languages` the pages have those that come with them.
    Raises SettingsError for a review.language that is not there.
    """

    def pointer() -> Pointer:
        return read_pointer(settings.epochs_dir)

    app = FastAPI(title="Hashwarden", docs_url=None, redoc_url=None, openapi_url=None)
    app.include_router(probes(settings, sessions, pointer, metrics or Metrics(settings, sessions, pointer)))
    doors = Doors(settings.review, sessions)
    desk = Desk(settings, sessions, wake)
    minors = MinorDesk(settings, sessions, wake)
    snapshots = Snapshots(settings.deadlines, sessions, SHOWN_SECONDS)
    app.include_router(SignInPages(settings, sessions, doors).router())
    app.include_router(DeskPages(settings, sessions, pointer, desk, doors, reveals).router())
    if reveals is not None:
        app.include_router(RevealPages(reveals, doors).router())
    app.include_router(UploadPages(settings, sessions, pointer, doors).router())
    app.include_router(MePages(settings, sessions, doors).router())
    app.include_router(MinorPages(settings, minors, doors).router())
    app.include_router(OfficePages(settings, sessions, wake, doors).router())
    app.include_router(FigurePages(snapshots, doors).router())
    api = make_api(settings, sessions, pointer, desk, minors, snapshots, wake, reveals)
    app.router.routes.append(ApiMount(api))
    app.mount("/static", StaticFiles(directory=Path(__file__).parent / "pages" / "static"))
    answers = Answers(headers_of(settings.review), languages or Languages(settings.review.language))
    app.middleware("http")(answers.guard)
    app.add_exception_handler(StarletteHTTPException, answers.told)
    app.add_exception_handler(RequestValidationError, answers.not_understood)
    app.add_exception_handler(SQLAlchemyError, answers.without_database)
    app.add_exception_handler(Exception, answers.broken)
    return app
