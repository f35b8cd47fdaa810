"""What codes are called on the pages: states, verdicts, reasons, roles, actions of the log, columns of figures."""

from __future__ import annotations

import re

from config.words import Words, _, joined

_RETRO = "retro_"
_CELL = re.compile(r"cell-([1-9])")
_MATCHED = re.compile(r"match-\d+")

_STATES = {
    "pending": _("pending"),
    "scanning": _("scanning"),
    "clear": _("clear"),
    "flagged": _("flagged"),
    "held": _("held"),
    "unsupported": _("unsupported"),
    "unscannable": _("unscannable"),
    "released": _("released"),
    "removed": _("removed"),
    "superseded": _("superseded"),
    "gone": _("gone"),
    "open": _("open"),
    "decided": _("decided"),
    "closed": _("closed"),
    "reported": _("reported"),
    "withdrawn": _("withdrawn"),
}

_URGENCY = {
    "calm": _("in time"),
    "half": _("half over"),
    "soon": _("soon due"),
    "last": _("due now"),
    "overdue": _("overdue"),
}

_VERDICTS = {
    "confirmed": _("confirmed"),
    "not_a_match": _("not a match"),
    "lawful": _("lawful"),
    "hash_wrong": _("hash wrong"),
    "suspected_minor": _("suspected minor"),
}

_EFFECTS = {
    "hold": _("hold"),
    "flag": _("flag"),
    "shadow": _("shadow"),
    "served": _("served"),
    "denied": _("denied"),
    "purged": _("purged"),
    "purging": _("purging"),
    "refused": _("refused"),
}

_REASONS = {
    "match": _("match"),
    "shadow_match": _("shadow match"),
    "shadow_held": _("shadow held"),
    "shadow_flagged": _("shadow flagged"),
    "partial": _("partial"),
    "undone": _("undone"),
    "deleted": _("deleted"),
    "before_read": _("before it was read"),
    "seen_again": _("seen again"),
    "replay": _("scanned again"),
    "lease_expired": _("lease expired"),
    "out_of_attempts": _("out of attempts"),
    "lane_image": _("a picture after all"),
    "lane_video": _("a video after all"),
    "decided_confirmed": _("decided confirmed"),
    "decided_not_a_match": _("decided not a match"),
    "decided_lawful": _("decided lawful"),
    "decided_hash_wrong": _("decided hash wrong"),
    "decided_suspected_minor": _("decided suspected minor"),
    "file_size_limit": _("file size limit"),
    "pixel_limit": _("pixel limit"),
    "side_limit": _("side limit"),
    "aspect_limit": _("aspect limit"),
    "scan_limit": _("scan limit"),
    "frame_limit": _("frame limit"),
    "packet_limit": _("packet limit"),
    "stream_limit": _("stream limit"),
    "duration_limit": _("duration limit"),
    "cpu_limit": _("cpu limit"),
    "wall_limit": _("wall limit"),
    "memory_limit": _("memory limit"),
    "crashed": _("crashed"),
    "broken": _("broken"),
    "truncated": _("truncated"),
    "no_video_stream": _("no video stream"),
    "codec_not_allowed": _("codec not allowed"),
    "format_not_allowed": _("format not allowed"),
    "empty": _("empty"),
}

_FAULTS = {
    "sandbox": _("the sandbox failed"),
    "storage": _("the store failed"),
    "storage_refused": _("refused by the store"),
    "object_gone": _("no longer in the store"),
    "object_superseded": _("overwritten in the store"),
}

_PURPOSES = {
    "advice": _("advice"),
    "quality": _("quality"),
    "request": _("request"),
    "incident": _("incident"),
}

_KINDS = {
    "image": _("image"),
    "video": _("video"),
    "password": _("password"),
    "link": _("link"),
    "provider": _("provider"),
    "page": _("page"),
    "terminal": _("terminal"),
    "sweep": _("sweep"),
    "backfill": _("old stock"),
    "sqs": _("event"),
    "inbox": _("inbox"),
    "retro": _("retro"),
    "withdrawal": _("withdrawal"),
}

_ROLES = {
    "reviewer": _("reviewer"),
    "lead": _("lead"),
    "adjudicator": _("adjudicator"),
    "minor_safety": _("minor safety"),
    "auditor": _("auditor"),
    "admin": _("admin"),
    "platform": _("platform"),
}

_FEEDBACK = {
    "Blocked": _("Blocked"),
    "NotBlocked": _("Not blocked"),
    "PendingReview": _("Pending review"),
}

_ACTIONS = {
    "appeal": _("appeal"),
    "approval": _("approval"),
    "claim": _("claim"),
    "decision": _("decision"),
    "demotion_lifted": _("demotion lifted"),
    "export": _("export"),
    "hand_back": _("hand back"),
    "hunt_approved": _("hunt approved"),
    "hunt_rejected": _("hunt rejected"),
    "link_made": _("link made"),
    "look": _("look"),
    "minor_case": _("minor case"),
    "minor_case_look": _("look at a minor case"),
    "minor_case_prolonged": _("minor case prolonged"),
    "minor_case_reported": _("minor case reported"),
    "minor_report": _("report of a minor case"),
    "opinion": _("opinion"),
    "opinion_taken_back": _("opinion taken back"),
    "person_added": _("person added"),
    "person_disabled": _("person disabled"),
    "person_enabled": _("person enabled"),
    "person_keys": _("keys of a person"),
    "person_password": _("password of a person"),
    "person_roles": _("roles of a person"),
    "proposal": _("proposal"),
    "recusal": _("recusal"),
    "rejection": _("rejection"),
    "reveal": _("reveal"),
    "rules_approved": _("rules approved"),
    "second_person_asked": _("second person asked"),
    "service_started": _("service started"),
    "session_revoked": _("session revoked"),
    "sessions_revoked": _("sessions revoked"),
    "sign_in": _("sign in"),
    "sign_in_failed": _("sign in failed"),
    "sign_out": _("sign out"),
    "skip": _("skip"),
    "token_added": _("token added"),
    "token_revoked": _("token revoked"),
    "undo": _("undo"),
    "verdict": _("verdict"),
}

_DETAILS = {
    "before": _("before"),
    "bulk_restore": _("bulk restore"),
    "lift_demotion": _("lift demotion"),
    "approve_hunt": _("approve hunt"),
    "change_rules": _("change rules"),
    "counts": _("counts"),
    "days": _("days"),
    "demotion": _("demotion"),
    "grey": _("grey thumbnail"),
    "hunt": _("hunt"),
    "kept": _("kept"),
    "kind": _("kind"),
    "mode": _("mode"),
    "mosaic": _("mosaic"),
    "moved": _("moved"),
    "person": _("person"),
    "policy": _("policy"),
    "overturn_minor": _("overturn minor"),
    "proposed_by": _("proposed by"),
    "purpose": _("purpose"),
    "reference": _("reference"),
    "region": _("region"),
    "replaces": _("replaces"),
    "review": _("review"),
    "roles": _("roles"),
    "rules": _("rules"),
    "ruleset": _("rules"),
    "rung": _("rung"),
    "second": _("second review"),
    "adjudication": _("two disagree"),
    "session": _("session"),
    "sessions": _("sessions"),
    "settings": _("settings"),
    "single_keys": _("single keys"),
    "source": _("source"),
    "stills": _("stills"),
    "token": _("token"),
    "tokens": _("tokens"),
    "undoes": _("undoes"),
    "upload": _("upload"),
    "version": _("version"),
    "view": _("view"),
    "waits_for": _("waits for"),
    "way": _("way"),
    "whole": _("whole"),
    "peek": _("region"),
    "with": _("with"),
}

_COLUMNS = {
    "bank": _("bank"),
    "begin": _("begin (UTC)"),
    "by": _("parted by"),
    "counted": _("counted"),
    "deadline": _("deadline profile"),
    "distance": _("distance"),
    "due": _("time left"),
    "elsewhere": _("elsewhere"),
    "high": _("high"),
    "how": _("how"),
    "in_hand": _("in hand"),
    "in_time": _("in time"),
    "judged": _("judged"),
    "lag_p95_seconds": _("19 of 20 within (s)"),
    "low": _("low"),
    "median_seconds": _("median (s)"),
    "most_overdue_seconds": _("most overdue (s)"),
    "of": _("from and to"),
    "oldest_pending_seconds": _("oldest pending (s)"),
    "oldest_seconds": _("oldest (s)"),
    "overturned": _("overturned"),
    "p90_seconds": _("9 of 10 within (s)"),
    "part": _("part"),
    "precision": _("share that was right"),
    "pseudonym": _("pseudonym"),
    "right": _("right"),
    "scanned": _("scanned"),
    "seconds_shown": _("shown (s)"),
    "seconds_shown_sharp": _("shown sharp (s)"),
    "seen": _("seen"),
    "share": _("share"),
    "share_in_time": _("share in time"),
    "verdicts": _("verdicts"),
    "views": _("views"),
    "views_per_100_decisions": _("views per 100 decisions"),
    "views_per_100_verdicts": _("views per 100 verdicts"),
    "waiting": _("waiting"),
    "wrong": _("wrong"),
}

_CLASSES = {
    "under_1_h": _("under 1 h"),
    "1_to_6_h": _("1 to 6 h"),
    "6_to_24_h": _("6 to 24 h"),
    "24_to_48_h": _("24 to 48 h"),
    "over_48_h": _("over 48 h"),
    "within_1_h": _("within 1 h"),
    "1_to_2_h": _("1 to 2 h"),
    "2_to_6_h": _("2 to 6 h"),
    "later": _("later"),
    "exact": _("the same file"),
    "0_to_10": _("0 to 10 bits"),
    "11_to_20": _("11 to 20 bits"),
    "21_to_31": _("21 to 31 bits"),
    "32_to_40": _("32 to 40 bits"),
    "41_to_48": _("41 to 48 bits"),
    "over_48": _("over 48 bits"),
    "age": _("age"),
    "stage": _("stage"),
    "first": _("first verdict"),
    "claim_to_verdict": _("claim to verdict"),
    "opening_to_decision": _("opening to decision"),
    "upload_to_decision": _("upload to decision"),
    "undone_by_another": _("undone by another"),
    "overturned_on_appeal": _("overturned on appeal"),
    "second_person_disagreed": _("second disagreed"),
}
"""Of the figures: what is counted together, and which times and overturns are told apart."""

_NAMES: dict[str, Words] = (
    _STATES
    | _URGENCY
    | _VERDICTS
    | _EFFECTS
    | _REASONS
    | _FAULTS
    | _PURPOSES
    | _KINDS
    | _ROLES
    | _FEEDBACK
    | _ACTIONS
    | _DETAILS
    | _COLUMNS
    | _CLASSES
)


def name_of(code: str) -> str:
    """The words of a code; what is no code of ours, as a bank's or a person's name, stays as it is."""
    if code.startswith(_RETRO) and code != _RETRO:
        return joined(_("retro"), name_of(code.removeprefix(_RETRO)))
    if cell := _CELL.fullmatch(code):
        return _("part %(number)s of 9", number=cell[1])
    if _MATCHED.fullmatch(code):
        return _("matched region")
    return _NAMES.get(code, code)
