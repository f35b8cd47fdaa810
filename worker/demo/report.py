"""The demonstration's last acts: what the bank and the platform were told, and the numbers of the day.

Everything shown is read from the bank, the receiver or the database when it is shown.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from sqlalchemy import func, select

from bank_sync.epoch import read_pointer
from bank_sync.sandbox.client import PracticeClient
from bank_sync.sandbox.wire import Case
from worker.demo.deployment import Deployment
from worker.demo.screen import Screen, percentile
from worker.operate import health
from worker.store.models import WebhookMessage

_MEANING = {
    "PendingReview": "a match waits for a person",
    "Blocked": "a person confirmed it",
    "NotBlocked": "a person found no match",
}


def show_bank(
    screen: Screen, bank: PracticeClient, cases: Mapping[int, Case], expected: Mapping[int, str]
) -> None:
    """The feedback on each case, as its owner sees it; `expected` says what each case's hashes were told."""
    screen.act(
        "What each person sees at the bank",
        "By case number and PIN: the feedback that this platform sent, and nothing about who uploaded what.",
    )
    screen.wait(lambda: all(_feedback(bank, cases[case]) == {said} for case, said in expected.items()))
    rows = []
    for number, case in cases.items():
        for entry in bank.progress(case)["hashes"]:
            words = ", ".join(_words(item["feedbackValue"]) for item in entry["feedback"])
            rows.append((f"case {number}", entry["signalType"], entry["status"], words or "nothing yet"))
    screen.table(("Case", "Hash", "Status", "Feedback"), rows)
    for number, said in expected.items():
        found = _feedback(bank, cases[number])
        screen.check(found == {said}, f"case {number}: {said}", ", ".join(sorted(found)))


def _words(value: str) -> str:
    return f"{value} ({_MEANING[value]})" if value in _MEANING else value


def _feedback(bank: PracticeClient, case: Case) -> set[str]:
    """Everything that was said of a case's hashes; a hash of which nothing was said counts as ''."""
    hashes = bank.progress(case)["hashes"]
    return {
        said["feedbackValue"] for entry in hashes for said in entry["feedback"] or [{"feedbackValue": ""}]
    }


def show_platform(screen: Screen, deployment: Deployment) -> None:
    """The webhooks that arrived, against those that were written with the transitions."""
    screen.act(
        "What the platform was told",
        "Webhooks to a small receiver on this machine, each signature checked by the standard-webhooks scheme.",
    )
    receiver = deployment.receiver
    screen.wait(lambda: receiver.counts() == _written(deployment))
    counts, written = receiver.counts(), _written(deployment)
    screen.table(("Event", "Arrived"), [(kind, str(counts[kind])) for kind in sorted(counts)], right=(1,))
    screen.check(
        counts == written and receiver.refused == 0,
        f"all {sum(written.values())} arrived, every signature right",
        f"{sum(counts.values())} arrived, {receiver.refused} signatures wrong",
    )


def _written(deployment: Deployment) -> Counter[str]:
    with deployment.sessions() as session:
        rows = session.execute(select(WebhookMessage.type, func.count()).group_by(WebhookMessage.type))
        return Counter(dict(rows.all()))


def show_numbers(
    screen: Screen, deployment: Deployment, at_once: Sequence[float], alone: Sequence[float]
) -> None:
    """Totals, times in milliseconds from put to state (all uploads at once, and one at a time), and coverage."""
    screen.act("In numbers", "From the database, as `hashwarden coverage` and /metrics show it.")
    with deployment.sessions() as session:
        covered = health.coverage(session)
        alarms = health.alarms(
            session, deployment.settings, lambda: read_pointer(deployment.settings.epochs_dir)
        )
    states = [(state, str(number)) for state, number in covered.states.items() if number]
    screen.table(("State", "Uploads"), states, right=(1,))
    half, most = percentile(at_once, 0.5), percentile(at_once, 0.95)
    screen.say(f"put to state, {len(at_once)} uploads at once: p50 {half:.0f} ms, p95 {most:.0f} ms")
    screen.say(f"put to state, {len(alone)} uploads one after another: p50 {percentile(alone, 0.5):.0f} ms")
    screen.say(
        f"coverage: {covered.seen} seen, {covered.scanned} scanned, {covered.unsupported} unsupported, "
        f"{covered.unscannable} unscannable, {covered.pending} pending"
    )
    screen.check(covered.pending == 0, "nothing is pending")
    screen.check(not alarms, "no alarm", " ".join(alarm.message for alarm in alarms))
