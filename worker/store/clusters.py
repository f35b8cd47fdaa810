"""Near copies: contents that matched the same entry and whose own hashes lie near each other, decided together.

What was decided counts as matched by the entries that it put into the own bank.

Two contents are near copies when every hash of each, as it is, lies within RADIUS of one of the other's. A cluster is
what hangs together by that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy import BigInteger, Select, case, cast, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, aliased

from bank_sync.bank import OwnSupport
from bank_sync.signals import PDQ
from worker.domain import Effect
from worker.store.desk import ClusterRow
from worker.store.models import Content, MatchRow

RADIUS = 16
"""Bits of 256 that two near copies differ by at most: a saving at low quality costs 2 to 10."""

LEAST_QUALITY = 50
"""PDQ quality below which a hash says too little to tell copies from others (the PDQ paper's threshold)."""

MOST_HASHES = 600
"""A content of more hashes, ten minutes of film, stands alone: comparing it would keep a scan waiting."""

MOST_COMPARED = 1000
"""The newest contents of the same entries that a new one is compared with."""

_LOCK = 0x4857_0007


def join(session: Session, content: Content) -> None:
    """Finds the near copies of a content that has a review, and makes one cluster of them. The caller commits.

    One at a time: two near copies that arrive together would not see each other. Call it before feedback is queued, so
    that nothing that another scan waits for is held meanwhile.
    """
    hashes = _hashes(content.fingerprint)
    if hashes is None:
        return
    session.execute(select(func.pg_advisory_xact_lock(_LOCK)))
    near = [
        other for other, fingerprint in session.execute(_candidates(content.id)) if _near(hashes, fingerprint)
    ]
    known = set(
        session.scalars(select(ClusterRow.cluster).where(ClusterRow.content_id.in_([content.id, *near])))
    )
    if not near:
        return
    cluster = min({content.id, *near, *known})
    session.execute(update(ClusterRow).where(ClusterRow.cluster.in_(known)).values(cluster=cluster))
    for each in (content.id, *near):
        session.execute(insert(ClusterRow).values(content_id=each, cluster=cluster).on_conflict_do_nothing())


def copies_of(content_id: int) -> Select[int]:
    """SQL: the other contents of a content's cluster."""
    mine = aliased(ClusterRow)
    return (
        select(ClusterRow.content_id)
        .join(mine, mine.cluster == ClusterRow.cluster)
        .where(mine.content_id == content_id, ClusterRow.content_id != content_id)
    )


def _candidates(content_id: int) -> Select[tuple[int, list[dict[str, Any]] | None]]:
    entries = select(MatchRow.entry_id).where(
        MatchRow.content_id == content_id, MatchRow.effect != Effect.SHADOW
    )
    matched = select(MatchRow.content_id).where(MatchRow.entry_id.in_(entries))
    # What was decided matched no own entry itself: it is where that came from, perhaps all that is left of both.
    decided = select(
        case(
            (
                OwnSupport.source.like("content:%"),
                cast(func.split_part(OwnSupport.source, ":", 2), BigInteger),
            )
        )
    ).where(OwnSupport.entry_id.in_(entries), OwnSupport.source.like("content:%"))
    return (
        select(Content.id, Content.fingerprint)
        .where(
            Content.id.in_(matched.union(decided)),
            Content.id != content_id,
            Content.fingerprint.is_not(None),
        )
        .order_by(Content.id.desc())
        .limit(MOST_COMPARED)
    )


def distance(one: Sequence[dict[str, Any]] | None, other: Sequence[dict[str, Any]] | None) -> int | None:
    """How far two contents are apart in bits: the worst of their hashes; None where that can't be told."""
    hashes = _hashes(one)
    return None if hashes is None else _apart(hashes, other)


def _near(hashes: dict[str, npt.NDArray[np.uint8]], fingerprint: Sequence[dict[str, Any]] | None) -> bool:
    apart = _apart(hashes, fingerprint)
    return apart is not None and apart <= RADIUS


def _apart(
    hashes: dict[str, npt.NDArray[np.uint8]], fingerprint: Sequence[dict[str, Any]] | None
) -> int | None:
    others = _hashes(fingerprint)
    if others is None or others.keys() != hashes.keys():
        return None
    worst = 0
    for signal_type, mine in hashes.items():
        bits = np.bitwise_count(mine[:, None, :] ^ others[signal_type][None, :, :]).sum(axis=2)
        worst = max(worst, int(bits.min(axis=1).max()), int(bits.min(axis=0).max()))
    return worst


def _hashes(fingerprint: Sequence[dict[str, Any]] | None) -> dict[str, npt.NDArray[np.uint8]] | None:
    """By signal type, the hashes that say enough, as (n, 32) bytes; None when there are none, or too many."""
    found: dict[str, list[bytes]] = {}
    for view in fingerprint or []:
        if view["quality"] >= LEAST_QUALITY:
            found.setdefault(view.get("signal_type", PDQ), []).append(bytes.fromhex(view["hash"]))
    if not found or sum(map(len, found.values())) > MOST_HASHES:
        return None
    return {
        signal_type: np.frombuffer(b"".join(values), np.uint8).reshape(-1, 32)
        for signal_type, values in found.items()
    }
