"""The prepared report of a case, for whoever files it with an authority: what is known, and nothing that is guessed.

Fields are called as in NCMEC's CyberTipline API, so that they can be copied; what only the platform knows is left null.
This is the one place of these pages that tells a file's name, its address and its SHA-256: the law asks for them, and
without them an authority can't find or compare the file. Its MD5 is left out, as it may be a bank's own hash, and so
are the banks: which of them somebody has turned to is theirs alone.

`fileViewedByEsp` asks whether somebody viewed the entire file (United States v. Wilson, 13 F.4th 961, turned on it). It
comes from the ledger of looks and nothing else; a mosaic, a blurred thumbnail, a region, or stills of a video are not
the entire file, and are told as what they were.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from config.policy import PolicySettings
from worker.domain import Access, Kind, State
from worker.media.rungs import Rung
from worker.store.minor_cases import MinorCase, MinorFile
from worker.store.models import Content, History, Upload
from worker.store.transitions import FINAL, access_of
from worker.store.views import View

FORMAT = "hashwarden-minor-report-1"
INCIDENT_TYPE = "Child Pornography (possession, manufacture, and distribution)"
"""The type that NCMEC's list has for a picture or video of a child; its words are theirs."""

Report = dict[str, Any]


_SEEN = FINAL - {State.SUPERSEDED, State.GONE}


def report_of(session: Session, policy: PolicySettings, case: MinorCase) -> Report:
    """The report of a case as of now, ready to be written as JSON."""
    content = session.get_one(Content, case.content_id)
    looks = session.scalars(select(View).where(View.content_id == case.content_id).order_by(View.id)).all()
    viewed = any(entire(look, content.kind) for look in looks)
    files = session.scalars(select(MinorFile).where(MinorFile.case_id == case.id).order_by(MinorFile.id))
    return {
        "format": FORMAT,
        "case": case.id,
        "preparedAt": _moment(datetime.now(UTC)),
        "incidentSummary": {
            "incidentType": INCIDENT_TYPE,
            "incidentDateTime": _moment(case.opened_at),
            "incidentDateTimeDescription": "When a reviewer first suspected a minor.",
        },
        "reportedBy": case.reported_by,
        "reportedAt": _moment(case.reported_at),
        "reference": case.reference,
        "preservedUntil": _moment(case.preserve_until),
        "suspectedBy": case.opened_by,
        "found": {
            "by": "comparison of hashes, then a person's judgement",
            "kind": content.kind,
            "matches": case.facts["found"],
        },
        "personOrUserReported": None,
        "fileDetails": [_file(session, policy, file, content, viewed=viewed) for file in files],
        "looks": [
            {
                "by": look.actor,
                "at": _moment(look.at),
                "shown": Rung(look.rung).name.lower(),
                "region": look.region,
                "stills": look.stills,
                "seconds": look.seconds,
                "entireFile": entire(look, content.kind),
            }
            for look in looks
        ],
    }


def entire(look: View, kind: str) -> bool:
    """Whether this look showed a person the entire file: all of a picture, and never a video.

    Whatever its seconds: those are the browser's word, and what was sent whole could be viewed.
    """
    return look.rung == Rung.WHOLE and kind != Kind.VIDEO and look.stills == 1


def _file(
    session: Session, policy: PolicySettings, file: MinorFile, content: Content, *, viewed: bool
) -> dict[str, Any]:
    upload = session.get_one(Upload, file.upload_id)
    place = {"bucket": file.bucket, "key": file.key, "versionId": file.version_id}
    copy = {"bucket": file.copy_bucket, "key": file.copy_key, "versionId": file.copy_version_id}
    served = policy.publish == "until_held" or _was_served(session, upload)
    return {
        "upload": file.upload_id,
        "originalFileName": file.key.rpartition("/")[2],
        "locationOfFile": place,
        "originalFileHash": (
            {"hashType": "SHA256", "value": content.sha256.hex()} if content.sha256 is not None else None
        ),
        "size": file.size,
        "uploadedAt": _moment(file.uploaded_at),
        "fileViewedByEsp": viewed,
        "exifViewedByEsp": False,
        # Whether the platform let anybody see it is the platform's to say; never served is known here.
        "publiclyAvailable": None if served else False,
        "servedBeforeItWasWithheld": served,
        "accessNow": upload.access_applied or None,
        "preservedCopy": copy if file.copied_at is not None else None,
    }


def _was_served(session: Session, upload: Upload) -> bool:
    """Whether it ever was in a state in which the platform serves."""
    states = {
        State(state)
        for state in session.scalars(select(History.to_state).where(History.upload_id == upload.id))
    }
    return any(access_of(state) is Access.SERVED for state in states & _SEEN)


def _moment(at: datetime | None) -> str | None:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if at is not None else None
