"""What the codes of the database are called on the pages: states, verdicts, reasons, roles, actions of the log."""

from __future__ import annotations

from config.words import Words, _, joined

_RETRO = "retro_"

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
    "minor_case_prolonged": _("minor case prolonged"),
    "minor_case_reported": _("minor case reported"),
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
    "platform": _("platform"),
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

_NAMES: dict[str, Words] = (
    _STATES | _URGENCY | _VERDICTS | _EFFECTS | _REASONS | _KINDS | _ROLES | _FEEDBACK | _ACTIONS | _DETAILS
)


def name_of(code: str) -> str:
    """The words of a code; what is no code of ours, as a bank's or a person's name, stays as it is."""
    if code.startswith(_RETRO) and code != _RETRO:
        return joined(_("retro"), name_of(code.removeprefix(_RETRO)))
    return _NAMES.get(code, code)
