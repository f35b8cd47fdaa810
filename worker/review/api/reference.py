"""Writes the description of the API: `python -m worker.review.api.reference`. Nothing is connected to."""

from __future__ import annotations

import json
import sys
from functools import partial

from bank_sync.epoch import read_pointer
from config.database import make_engine, make_sessions
from config.settings import Settings
from worker.review.api.app import WHERE, make_api
from worker.review.api.openapi import describe
from worker.review.desk.desk import Desk
from worker.review.desk.minor_desk import MinorDesk
from worker.review.figures.snapshot import Snapshots


def render() -> str:
    """The document as JSON, as the repository keeps it."""
    settings = Settings()
    engine = make_engine(settings.database)
    try:
        sessions = make_sessions(engine)
        desk = Desk(settings, sessions, list)
        minors = MinorDesk(settings, sessions, list)
        snapshots = Snapshots(settings.deadlines, sessions, {})
        pointer = partial(read_pointer, settings.epochs_dir)
        api = make_api(settings, sessions, pointer, desk, minors, snapshots, list, None)
        return json.dumps(describe(api, WHERE), indent=1, ensure_ascii=False) + "\n"
    finally:
        engine.dispose()


if __name__ == "__main__":
    sys.stdout.write(render())
