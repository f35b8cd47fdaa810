"""The state machine of an upload: which state leads where, what it means for access, and the one way to move.

No other module writes `Upload.state`.
"""

from __future__ import annotations

from sqlalchemy import func
from sqlalchemy.orm import Session

from config.errors import HashwardenError
from worker.domain import Access, State
from worker.store.models import History, Upload

ALLOWED: dict[State, frozenset[State]] = {
    State.PENDING: frozenset({State.SCANNING, State.UNSCANNABLE, State.HELD, State.SUPERSEDED, State.GONE}),
    State.SCANNING: frozenset(
        {
            State.PENDING,
            State.CLEAR,
            State.FLAGGED,
            State.HELD,
            State.UNSUPPORTED,
            State.UNSCANNABLE,
            State.SUPERSEDED,
            State.GONE,
        }
    ),
    State.CLEAR: frozenset({State.FLAGGED, State.HELD, State.REMOVED}),
    State.FLAGGED: frozenset({State.HELD, State.RELEASED, State.REMOVED, State.CLEAR}),
    State.HELD: frozenset(
        {
            State.RELEASED,
            State.REMOVED,
            State.CLEAR,
            State.FLAGGED,
            State.UNSUPPORTED,
            State.UNSCANNABLE,
        }
    ),
    State.UNSUPPORTED: frozenset({State.PENDING, State.HELD, State.RELEASED, State.REMOVED}),
    State.UNSCANNABLE: frozenset({State.PENDING, State.HELD, State.RELEASED, State.REMOVED}),
    State.RELEASED: frozenset(
        {State.REMOVED, State.HELD, State.FLAGGED, State.UNSUPPORTED, State.UNSCANNABLE}
    ),
    State.REMOVED: frozenset(
        {
            State.RELEASED,
            State.HELD,
            State.CLEAR,
            State.FLAGGED,
            State.UNSUPPORTED,
            State.UNSCANNABLE,
        }
    ),
    State.SUPERSEDED: frozenset({State.PENDING}),
    State.GONE: frozenset({State.PENDING}),
}
"""From each state to the states it leaves to. `pending` goes to `unscannable` or `held` when attempts run out,
`released` to `held` or `flagged` when another entry matches, `removed` to `held` for a suspected minor,
`clear` to `removed` when a later verdict covers the same bytes. `held`, `released` and `removed` go back to `clear`,
`flagged`, `unsupported` or `unscannable` when the decision that had moved them is undone."""

FINAL = frozenset(State) - {State.PENDING, State.SCANNING}

ACCESS: dict[State, Access] = {State.HELD: Access.DENIED, State.REMOVED: Access.REMOVED}
"""What each state means for the object; every other state is served."""


class TransitionError(HashwardenError):
    """A move that the state machine does not allow: a fault of the program, never of the input."""

    code = "transition"


def access_of(state: State) -> Access:
    return ACCESS.get(state, Access.SERVED)


def transition(
    session: Session,
    upload: Upload,
    to: State,
    *,
    actor: str,
    reason: str = "",
    index_epoch: int | None = None,
    policy_revision: str = "",
) -> None:
    """Moves a row that the caller has locked, writes its history, and schedules the effect on the object.

    Raises TransitionError when `to` can't follow the row's state.
    """
    came_from = State(upload.state)
    if to not in ALLOWED[came_from]:
        raise TransitionError(f"Upload {upload.id} can't go from {came_from} to {to}.")
    session.add(
        History(
            upload_id=upload.id,
            from_state=came_from,
            to_state=to,
            actor=actor,
            reason=reason,
            attempts=upload.attempts,
            index_epoch=index_epoch,
            policy_revision=policy_revision,
        )
    )
    now = func.clock_timestamp()
    upload.state = to
    upload.reason = reason
    upload.state_since = now
    if index_epoch is not None:
        upload.index_epoch = index_epoch
    if policy_revision:
        upload.policy_revision = policy_revision
    if to is State.PENDING:
        upload.next_attempt_at = now
        upload.announced_at = None
    if to is not State.SCANNING:
        upload.lease = None
        upload.lease_until = None
    if to in FINAL:
        upload.access_wanted = access_of(to)
        upload.access_due_at = now
        upload.access_attempts = 0
        upload.purge_at = None
        # Not yet announced for this: the dispatcher does at its next round.
        upload.announced_at = None
