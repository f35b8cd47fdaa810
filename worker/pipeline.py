"""The way of one upload, top to bottom: lease, fetch, hash, match, decide, write down, act.

Every stage is one call. Nothing here is Celery's: a task is a shell over `process`.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta

import structlog
from sqlalchemy import func
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.orm import Session

from bank_sync import feedback
from bank_sync.bank import Entry, entries_by_id
from config.database import Sessions
from config.errors import HashwardenError
from config.settings import Settings
from worker import act, outbox
from worker.decide import decide, unmatched
from worker.domain import Effect, HashedMedia, Kind, Lane, Match, Memory, ObjectRef, Outcome, Profile, State
from worker.errors import ObjectGone, ObjectSuperseded, SandboxError
from worker.fetch import Fetched, WrongLane, fetch
from worker.matching import SignalIndex, find_matches, hold_radius, standing, widest_radius
from worker.media.sandbox import MediaSandbox
from worker.second_look import second_look
from worker.storage.protocol import ObjectStore, Receipt
from worker.store import clusters, contents, floods, leases, ledger
from worker.store.leases import Lease
from worker.store.models import Content, Upload
from worker.store.transitions import transition

log = structlog.get_logger()

SANDBOX_FAULTS = 20
"""Faults of the sandbox itself after which they use up attempts: an upload that breaks it can't loop for ever."""


RETRO = "retro_"
"""Begins the reason of what a retro-hunt did."""


@dataclass(frozen=True)
class Stages:
    """What one worker process works with; built once, after the fork."""

    settings: Settings
    sessions: Sessions
    store: ObjectStore
    sandbox: MediaSandbox
    index: Callable[[], SignalIndex]
    """The current epoch. Raises EpochError while none is published: nothing is cleared without an index."""
    announce: Callable[[Collection[tuple[int, Lane]]], None]

    @property
    def actor(self) -> str:
        return f"worker@{socket.gethostname()}:{os.getpid()}"


def process(stages: Stages, upload_id: int) -> None:
    """Takes one upload as far as it can go now. Safe to call at any time, any number of times, anywhere.

    A row that is due is scanned; a row whose effect is due has it made or repaired; anything else is left alone.
    Faults of storage, index, sandbox or database put the row back with a later due time and raise nothing.
    """
    with stages.sessions.begin() as session:
        lease = leases.claim(session, upload_id, stages.settings.queue, actor=stages.actor)
    if lease is None:
        _end_exhausted(stages, upload_id)
    elif not _scan(stages, lease):
        return
    act.ensure(stages.sessions, stages.store, stages.settings.policy, upload_id)


def _scan(stages: Stages, lease: Lease) -> bool:
    """Scans a leased upload; False when its storage is as it should be and needs no further look."""
    try:
        receipt = Receipt.from_json(lease.receipt) if lease.receipt else None
        with fetch(stages.store, lease.ref, lease.lane, stages.settings.media, receipt) as fetched:
            index = stages.index()
            media = _hash(stages, fetched, lease.ref, index)
        matches = find_matches(
            media,
            fetched.md5,
            index,
            _entries(stages.sessions),
            stages.settings.policy,
            stages.settings.banks,
        )
        return conclude(stages, lease, fetched, media, matches, index.number, index.holds)
    except ObjectGone:
        _end(stages, lease, State.GONE)
    except ObjectSuperseded:
        _end(stages, lease, State.SUPERSEDED)
    except WrongLane as wrong:
        with stages.sessions.begin() as session:
            moved = leases.change_lane(session, lease, wrong.lane, actor=stages.actor)
        if moved:
            stages.announce([(lease.upload_id, wrong.lane)])
    except SandboxError as fault:
        _put_back(stages, lease, fault.code, use_attempt=lease.faults >= SANDBOX_FAULTS)
    except HashwardenError as fault:
        _put_back(stages, lease, fault.code, use_attempt=False)
    except (OperationalError, InterfaceError):
        _put_back(stages, lease, "database", use_attempt=False)
    except MemoryError:
        # Celery 5.7 ends the whole worker on a MemoryError that leaves a task.
        _put_back(stages, lease, "memory", use_attempt=True)
    except Exception as fault:
        log.error("scan_failed", upload=lease.upload_id, attempts=lease.attempts, exc_info=fault)
        _put_back(stages, lease, "internal", use_attempt=True)
    return False


def _hash(stages: Stages, fetched: Fetched, ref: ObjectRef, index: SignalIndex) -> HashedMedia:
    """The hashes that count: where a view comes near a bank's hash, those of a closer look as well."""
    if fetched.media is None:
        return HashedMedia(kind=Kind.UNSCANNABLE, reason="file_size_limit")
    policy, content = stages.settings.policy, fetched.media
    profile = Profile(policy.profile_of(ref.bucket, ref.key))
    media = stages.sandbox.hash(content, profile)
    return second_look(
        media,
        lambda closer: stages.sandbox.hash(content, profile, closer),
        index,
        hold_radius(policy),
        widest_radius(policy),
        lambda ids: standing(ids, _entries(stages.sessions), stages.settings.banks),
    )


def _entries(sessions: Sessions) -> Callable[[Collection[int]], Mapping[int, Entry]]:
    def look_up(ids: Collection[int]) -> Mapping[int, Entry]:
        if not ids:
            return {}
        with sessions() as session:
            return entries_by_id(session, ids)

    return look_up


def conclude(
    stages: Stages,
    lease: Lease,
    fetched: Fetched,
    media: HashedMedia,
    matches: tuple[Match, ...],
    index_epoch: int,
    index_holds: int | None = None,
) -> bool:
    """Writes the outcome in one transaction: state, history, content, matches, review, feedback and webhook.

    `index_holds` is the epoch that first had what was compared with, if that is another one.

    A lease that was lost meanwhile writes nothing: whoever has it now concludes. True when the storage is now to be
    made to agree.
    """
    policy = stages.settings.policy
    with stages.sessions.begin() as session:
        content, is_new = contents.lock_content(
            session, fetched.sha256, fetched.md5, fetched.size, media.kind
        )
        upload = leases.locked(session, lease)
        if upload is None:
            log.warning("lease_lost", upload=lease.upload_id)
            session.rollback()
            return False
        outcome = decide(
            media,
            matches,
            policy,
            Memory() if is_new else contents.memory_of(session, content.id),
            floods.demoted(session, [match.entry_id for match in matches]),
        )
        upload.content_id = content.id
        contents.record_matches(session, content, outcome.matches, index_epoch)
        write_outcome(
            session, stages.settings, upload, content, media, outcome, index_epoch, actor=stages.actor
        )
        # Deleted while it was scanned: nobody is served it, and its hashes are nobody's to keep.
        kept = stages.settings.ledger.enabled and upload.deleted_at is None
        if kept and outcome.state is State.CLEAR:
            ledger.keep(session, content, media, index_epoch if index_holds is None else index_holds)
        if act.nothing_to_do(upload, policy):
            upload.access_applied = upload.access_wanted
            upload.access_due_at = None
        return upload.access_due_at is not None


def write_outcome(
    session: Session,
    settings: Settings,
    upload: Upload,
    content: Content,
    media: HashedMedia,
    outcome: Outcome,
    index_epoch: int | None,
    *,
    actor: str,
    retro: bool = False,
) -> None:
    """Moves a locked row to its outcome and everything that goes with it; the caller commits.

    `retro`: the upload was clear, and is found by a hash that a bank got since. Told in the history, the review and the
    webhook.
    """
    policy = settings.policy

    def move(to: State) -> None:
        transition(
            session,
            upload,
            to,
            actor=actor,
            reason=f"{RETRO}{outcome.reason}" if retro else outcome.reason,
            index_epoch=index_epoch,
            policy_revision=policy.revision,
        )

    review_id = None
    if outcome.review:
        uncompared = Kind.UNSUPPORTED if media.kind is Kind.UNSUPPORTED else Kind.UNSCANNABLE
        cause = "match" if outcome.reason == "match" else uncompared.value
        counting = [match for match in outcome.matches if match.effect is not Effect.SHADOW]
        review = contents.open_review(
            session,
            content,
            cause=cause,
            priority=outcome.priority,
            hours=_hours(settings, upload, counting),
            nearest=min((match.distance for match in counting), default=256),
            retro=retro,
        )
        review_id = review.id
        contents.keep_fingerprint(content, media)
        clusters.join(session, content)
        _tell_banks(session, settings, outcome, feedback.PENDING_REVIEW, feedback.pending_key)
    if outcome.state is State.REMOVED:
        # Decided before: withheld first, like any match, then removed by that decision.
        move(State.HELD)
        move(State.REMOVED)
        decided = contents.newest_decision(session, content.id)
        # An entry that came after the decision has not heard of it; the others' keys are taken.
        _tell_banks(
            session, settings, outcome, feedback.BLOCKED, lambda entry: feedback.decision_key(decided, entry)
        )
        upload.purge_at = func.clock_timestamp() + timedelta(seconds=policy.removal_delay)
    else:
        move(outcome.state)
    if outcome.state is not State.CLEAR or policy.publish == "after_scan":
        outbox.tell_state(session, upload, review_id=review_id, retro=retro)
    if outcome.state is State.HELD:
        uploader = floods.uploader_digest(upload.ref, settings.events.uploader_pattern)
        holds = sorted(
            (match.entry_id, match.bank) for match in outcome.matches if match.effect is Effect.HOLD
        )
        came = upload.first_seen_at if retro else None
        for demotion in floods.count_holds(session, holds, uploader, policy.flood, came):
            log.error("flood_breaker_tripped", demotion=demotion.id, uploaders=demotion.uploaders)
            outbox.tell_demotion(session, demotion)


def _hours(settings: Settings, upload: Upload, matches: Iterable[Match]) -> float:
    """The earliest clock that these matches and the upload's place start."""
    banks = {match.bank for match in matches}
    profiles = [settings.banks[bank].deadline for bank in banks if bank in settings.banks]
    return settings.deadlines.hours(profiles, upload.bucket, upload.key)


def _tell_banks(
    session: Session, settings: Settings, outcome: Outcome, value: str, key: Callable[[int], str]
) -> None:
    """Queues feedback for each entry matched, in their order: two scans that meet the same never wait in a circle."""
    for match in sorted(outcome.matches, key=lambda match: match.entry_id):
        if match.effect is not Effect.SHADOW:
            feedback.enqueue(session, match.entry_id, value, key(match.entry_id), banks=settings.banks)


def _end_exhausted(stages: Stages, upload_id: int) -> None:
    """An upload that used up its attempts becomes visible: unscannable, or held where policy says so."""
    settings = stages.settings
    media = HashedMedia(kind=Kind.UNSCANNABLE, reason=leases.OUT_OF_ATTEMPTS)
    with stages.sessions.begin() as session:
        # Known from an earlier scan: what was decided of it still counts.
        content = contents.lock_content_of(session, upload_id)
        upload = leases.exhausted(session, upload_id, settings.queue)
        if upload is None:
            return
        outcome = unmatched(State.UNSCANNABLE, media.reason, settings.policy.unscannable)
        if content is None:
            content, _ = contents.lock_content(session, None, None, upload.size, Kind.UNSCANNABLE)
        else:
            remembered = decide(media, (), settings.policy, contents.memory_of(session, content.id))
            if remembered.state is not State.CLEAR:
                outcome = remembered
        upload.content_id = content.id
        write_outcome(session, settings, upload, content, media, outcome, None, actor=stages.actor)
    log.warning("out_of_attempts", upload=upload_id)


def _end(stages: Stages, lease: Lease, state: State) -> None:
    with stages.sessions.begin() as session:
        upload = leases.locked(session, lease)
        if upload is not None:
            transition(session, upload, state, actor=stages.actor)
            upload.access_due_at = None


def _put_back(stages: Stages, lease: Lease, code: str, *, use_attempt: bool) -> None:
    """Back to `pending`, due later. When even that can't be written, the lease ends by itself."""
    log.warning("put_back", upload=lease.upload_id, reason=code, attempts=lease.attempts, faults=lease.faults)
    try:
        with stages.sessions.begin() as session:
            leases.give_back(
                session,
                lease,
                stages.settings.queue,
                actor=stages.actor,
                reason=code,
                use_attempt=use_attempt,
            )
    except (OperationalError, InterfaceError):
        log.warning("put_back_later", upload=lease.upload_id)
