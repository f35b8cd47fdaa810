"""The platform's webhook: events written with the transition they tell of, sent signed until they arrive.

Signed by the standard-webhooks scheme (headers webhook-id, webhook-timestamp, webhook-signature). Payloads are thin:
ids, states and the object's address, never a hash, a bank, an entry or a reviewer. An ETag is left out as well: of an
object written in one piece it is the MD5, and so may be a bank's hash.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import structlog
from sqlalchemy import func, or_, select, update
from sqlalchemy.orm import Session
from standardwebhooks import Webhook

from config.database import Sessions
from config.settings import WebhookSettings
from worker.domain import State
from worker.store.models import Demotion, Review, Upload, WebhookMessage

log = structlog.get_logger()

EVENT_OF_STATE = {
    State.CLEAR: "scan.completed",
    State.FLAGGED: "match.detected",
    State.HELD: "item.held",
    State.RELEASED: "item.released",
    State.REMOVED: "item.removed",
    State.UNSUPPORTED: "scan.unsupported",
    State.UNSCANNABLE: "scan.failed",
}

FAST_DELAYS = (2, 8, 20, 30)
"""Seconds between the five tries of the fast lane: a hold must reach the platform within a minute."""

DELAYS = (5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400)
"""Seconds between tries, as the standard-webhooks specification suggests."""


def tell_state(
    session: Session, upload: Upload, *, review_id: int | None = None, retro: bool = False
) -> None:
    """Queues the event of the state an upload has just come to; a hold takes the fast lane."""
    state = State(upload.state)
    data: dict[str, Any] = {
        "upload_id": upload.id,
        "bucket": upload.bucket,
        "key": upload.key,
        "version_id": upload.version_id,
        "state": state.value,
    }
    if review_id is not None:
        data["review_id"] = review_id
    if retro:
        data["retro"] = True
    _queue(session, EVENT_OF_STATE[state], data, fast=state is State.HELD)


def tell_demotion(session: Session, demotion: Demotion) -> None:
    """Queues the news that the flood breaker tripped, for a person at the platform."""
    _queue(session, "flood.tripped", {"demotion_id": demotion.id, "uploaders": demotion.uploaders}, fast=True)


def tell_due(session: Session, review: Review, percent: int) -> None:
    """Queues the news that a review has used this share of its time; 100: it is breached."""
    data = {"review_id": review.id, "percent": percent, "due_at": review.due_at.isoformat()}
    _queue(session, "review.due_soon", data, fast=True)


def _queue(session: Session, kind: str, data: dict[str, Any], *, fast: bool) -> None:
    session.add(WebhookMessage(type=kind, payload=data, fast=fast))


MAX_FAILURES = 50
"""Undelivered messages that end a round: the platform is away."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """What one round did."""

    sent: int = 0
    failed: int = 0


class WebhookSender:
    """Sends what is due. Two at once never send the same message at the same time."""

    def __init__(
        self, sessions: Sessions, settings: WebhookSettings, *, transport: httpx.BaseTransport | None = None
    ) -> None:
        self._sessions = sessions
        self._settings = settings
        self._client = httpx.Client(timeout=settings.timeout, follow_redirects=False, transport=transport)
        self._signers = [Webhook(secret) for secret in settings.secrets]

    @property
    def enabled(self) -> bool:
        return bool(self._settings.url and self._signers)

    def close(self) -> None:
        self._client.close()

    def send_due(self, limit: int = 1000) -> Delivered:
        """Sends up to `limit` due messages, fast lane first; an undelivered one is due again later.

        Each is claimed when it is its turn: behind a platform that hangs, no try is used up by waiting, and a hold
        queued meanwhile goes first.
        """
        sent = failed = 0
        while self.enabled and sent + failed < limit and failed < MAX_FAILURES:
            message = self._claim()
            if message is None:
                break
            if self._send(message):
                sent += 1
            else:
                failed += 1
        return Delivered(sent, failed)

    def _claim(self) -> WebhookMessage | None:
        """Counts the try and moves the due time past the time-out before anything is sent."""
        with self._sessions.begin() as session:
            message = session.scalar(
                select(WebhookMessage)
                .where(
                    WebhookMessage.delivered_at.is_(None),
                    WebhookMessage.dead.is_(False),
                    WebhookMessage.next_attempt_at <= func.clock_timestamp(),
                )
                .order_by(WebhookMessage.fast.desc(), WebhookMessage.id)
                .limit(1)
                .with_for_update(skip_locked=True)
            )
            if message is not None:
                message.attempts += 1
                message.next_attempt_at = func.clock_timestamp() + timedelta(
                    seconds=2 * self._settings.timeout + 5
                )
                session.flush()
                session.expunge(message)
        return message

    def _send(self, message: WebhookMessage) -> bool:
        now = datetime.now(UTC)
        body = json.dumps(
            {"type": message.type, "timestamp": message.created_at.isoformat(), "data": message.payload},
            separators=(",", ":"),
        )
        headers = {
            "content-type": "application/json",
            "webhook-id": str(message.message_id),
            "webhook-timestamp": str(int(now.timestamp())),
            # A receiver takes the message when one of them is by a secret that it knows.
            "webhook-signature": " ".join(
                signer.sign(str(message.message_id), now, body) for signer in self._signers
            ),
        }
        retry_after = 0.0
        try:
            answer = self._client.post(self._settings.url, content=body, headers=headers)
        except httpx.HTTPError as error:
            outcome = type(error).__name__
        else:
            if answer.is_success:
                self._finish(message.id, delivered=True)
                return True
            outcome = f"http_{answer.status_code}"
            retry_after = _seconds(answer.headers.get("retry-after", ""))
        self._finish(message.id, error=outcome, wait=max(wait_before_next(message), retry_after))
        log.warning(
            "webhook_not_delivered", message=str(message.message_id), outcome=outcome, tries=message.attempts
        )
        if message.fast and message.attempts == len(FAST_DELAYS) + 1:
            log.error("webhook_fast_lane_exhausted", message=str(message.message_id), type=message.type)
        return False

    def _finish(
        self, message_id: int, *, delivered: bool = False, error: str = "", wait: float = 0.0
    ) -> None:
        now = func.clock_timestamp()
        values: dict[str, Any] = {"error": error}
        if delivered:
            values["delivered_at"] = now
        else:
            values["next_attempt_at"] = now + timedelta(seconds=wait)
            values["dead"] = error == "http_410"
        with self._sessions.begin() as session:
            session.execute(update(WebhookMessage).where(WebhookMessage.id == message_id).values(**values))


def wait_before_next(message: WebhookMessage) -> float:
    """Seconds until the next try, with jitter; the last delay repeats, so a message is never given up."""
    delays = (*FAST_DELAYS, *DELAYS[1:]) if message.fast else DELAYS
    seconds = delays[min(message.attempts, len(delays)) - 1]
    return seconds * random.uniform(0.9, 1.1)  # noqa: S311 (jitter, not a secret)


def _seconds(retry_after: str) -> float:
    return min(float(retry_after), 86400.0) if retry_after.isascii() and retry_after.isdigit() else 0.0


def oldest_undelivered(session: Session) -> datetime | None:
    """When the oldest message that still waits was queued; dead ones wait for a person."""
    return session.scalar(
        select(func.min(WebhookMessage.created_at)).where(
            WebhookMessage.delivered_at.is_(None), or_(WebhookMessage.dead, WebhookMessage.attempts > 0)
        )
    )
