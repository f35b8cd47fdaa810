"""Signs of life: which services of which hosts live, and which epoch their searches use."""

from __future__ import annotations

import os
import socket
from datetime import datetime, timedelta

from sqlalchemy import delete, func
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from worker.store.migrate import own_schema
from worker.store.models import Heartbeat

DISPATCH, WORKER = "dispatch", "worker"

KEPT = timedelta(days=1)
"""How long a sign of life of a process that is no more is kept."""


def beat(
    session: Session,
    service: str,
    *,
    epoch: int | None = None,
    fault: str = "",
    confirmed_at: datetime | None = None,
) -> None:
    """This process lives. `epoch` is the one that it searches, `fault` why that is not the newest ('' if it is),
    `confirmed_at` when it was last known to equal the database."""
    values = {
        "at": func.clock_timestamp(),
        "index_epoch": epoch,
        "index_fault": fault,
        "index_confirmed_at": confirmed_at,
        "schema": own_schema(),
    }
    mine = {"service": service, "host": socket.gethostname(), "pid": os.getpid()}
    session.execute(
        insert(Heartbeat)
        .values(**mine, **values)
        .on_conflict_do_update(index_elements=list(mine), set_=values)
    )


def ended(session: Session, service: str) -> None:
    """This process stops in good order: nobody waits for its next sign."""
    session.execute(
        delete(Heartbeat).where(
            Heartbeat.service == service,
            Heartbeat.host == socket.gethostname(),
            Heartbeat.pid == os.getpid(),
        )
    )


def forget_old(session: Session) -> None:
    session.execute(delete(Heartbeat).where(Heartbeat.at < func.clock_timestamp() - KEPT))
