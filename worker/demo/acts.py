"""The demonstration, act by act: a platform's day with the real parts, each claim compared with what happened.

Every check asks the storage, the database or the bank afresh; none repeats what was planned.
"""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

from sqlalchemy import func, select

from bank_sync.bank import OWN_BANK, BankEntry
from bank_sync.epoch import read_pointer
from bank_sync.sandbox.client import PracticeClient
from bank_sync.sandbox.wire import Case
from bank_sync.signals import PDQ, VIDEO_MD5
from worker.demo.deployment import BANK, BUCKET, REMOVAL_DELAY, Deployment
from worker.demo.device import hash_on_device
from worker.demo.processes import EmbeddedError
from worker.demo.report import show_bank, show_numbers, show_platform
from worker.demo.scenario import Planned, Scenario
from worker.demo.screen import Screen
from worker.demo.watch import Seen, Visitor, Watcher
from worker.domain import State, Verdict
from worker.queue.celery_app import Announcer
from worker.review.desk.reviews import decide_review

_REVIEWER = "demo-reviewer"


class Acts:
    """The acts in their order; each leaves what the next one needs."""

    def __init__(self, deployment: Deployment, screen: Screen, scenario: Future[Scenario]) -> None:
        self._deployment = deployment
        self._screen = screen
        self._making = scenario
        self._watcher = Watcher(deployment.sessions, BUCKET)
        self._visitor = Visitor(deployment.embedded.s3_endpoint, BUCKET)
        self._bank = PracticeClient(deployment.bank_url)
        self._cases: dict[int, Case] = {}
        self._at_once: list[float] = []
        self._alone: list[float] = []

    def play(self) -> None:
        try:
            scenario = self._making.result()
            self._give_to_bank(scenario)
            self._sync()
            self._find_the_past(scenario)
            self._upload(scenario)
            self._try_held(scenario)
            self._decide(scenario)
            self._upload_again(scenario)
            self._withdraw(scenario)
            show_bank(
                self._screen,
                self._bank,
                self._cases,
                {1: "Blocked", scenario.withdrawn_case: "PendingReview", 3: "NotBlocked"},
            )
            show_platform(self._screen, self._deployment)
            show_numbers(self._screen, self._deployment, self._at_once, self._alone)
        finally:
            self._visitor.close()
            self._bank.__exit__(None, None, None)

    def _give_to_bank(self, scenario: Scenario) -> None:
        self._screen.act(
            "Three people give hashes to the bank",
            "Each hashes on their own device and sends only the hash. The bank is a practice bank on this "
            "machine that speaks StopNCII's wire; the pictures are public photographs.",
        )
        rows = []
        sent = 0
        for planned in scenario.cases:
            signals = hash_on_device(planned)
            case = self._bank.open_case(signals)
            self._cases[planned.number] = case
            self._watcher.know_case(case.number, planned.number)
            kinds = Counter(signal_type for signal_type, _ in signals)
            sent += len(signals)
            what = ", ".join(f"{kinds[kind]} {kind}" for kind in (PDQ, VIDEO_MD5) if kinds[kind])
            rows.append((f"case {planned.number}", planned.what, what, f"{case.number[:4]}****, PIN ******"))
        self._screen.table(("Case", "What", "Sent", "Bank's answer"), rows)
        self._hashes_sent = sent
        held = sum(len(self._bank.progress(case)["hashes"]) for case in self._cases.values())
        self._screen.check(
            held == sent, f"the bank holds the {sent} hashes of {len(self._cases)} cases", f"{held}"
        )

    def _sync(self) -> None:
        self._screen.act(
            "The platform pulls the bank",
            f"`hashwarden bank sync {BANK}`, as cron runs it: pages, entries, checkpoint, then an index epoch.",
        )
        for line in self._deployment.command("bank", "sync", BANK).splitlines():
            self._screen.say(line)
        live = self._live_entries(BANK)
        self._screen.check(live == self._hashes_sent, f"{live} entries are live in the database")

    def _find_the_past(self, scenario: Scenario) -> None:
        early = scenario.early
        self._screen.act(
            "Hashwarden starts beside a bucket that is already in use",
            f"{len(early)} pictures were there before any notification was switched on: only the sweep can find "
            "them. Six processes start: two workers, ingest, dispatch, sweep, review-app.",
        )
        for upload in early:
            self._put(upload)
        self._deployment.watch_bucket()
        self._deployment.start_services()
        self._deployment.wait_for_services()
        seen = self._follow(early)
        found = [seen[upload.key].source for upload in early if upload.key in seen]
        by_sweep = [source for source in found if source in {"sweep", "backfill"}]
        self._screen.check(
            len(by_sweep) == len(early), f"the sweep found {len(by_sweep)} of {len(early)}", ", ".join(found)
        )
        self._check_states(early, seen)

    def _upload(self, scenario: Scenario) -> None:
        uploads = scenario.on_time
        self._screen.act(
            f"{len(uploads)} uploads by plain put_object",
            "Bucket notification, SQS, ingest, queue, fetch, sandbox, match, policy, action. "
            "`ms`: from the start of the put to the state, while all wait for the same few processes.",
        )
        # Beside the table, so that it shows the first upload while the last one is still being written.
        with ThreadPoolExecutor(1) as pool:
            putting = pool.submit(self._put_all, uploads)
            seen = self._follow(uploads)
            putting.result()
        self._check_states(uploads, seen)
        self._at_once = _times(seen)

    def _try_held(self, scenario: Scenario) -> None:
        self._screen.act(
            "Held means withheld",
            "What anybody gets who asks the storage for these keys, by a plain GET without any key of ours.",
        )
        seen = self._watcher.look([upload.key for upload in scenario.uploads])
        held = [
            upload
            for upload in scenario.uploads
            if upload.key in seen and seen[upload.key].state is State.HELD
        ]
        others = {upload.key: upload.body for upload in scenario.uploads if upload not in held}
        example = scenario.confirmed
        status, body = self._visitor.get(example.key)
        self._screen.say(f"GET /{BUCKET}/{example.key} ({example.what}): HTTP {status}, {len(body)} bytes")
        denied = self._visitor.denied([upload.key for upload in held])
        self._screen.check(
            bool(held) and len(denied) == len(held), f"{len(denied)} of {len(held)} held: denied"
        )
        served = self._visitor.served(others)
        self._screen.check(
            len(served) == len(others), f"{len(served)} of {len(others)} others: served, byte for byte"
        )

    def _decide(self, scenario: Scenario) -> None:
        self._screen.act(
            "A person decides",
            "A match is a claim, not a verdict. Two reviews are decided by the code behind `hashwarden decide`.",
        )
        confirmed, mistaken = scenario.confirmed, scenario.mistaken
        self._own_before = read_pointer(self._deployment.settings.epochs_dir).number
        self._verdict(confirmed, Verdict.CONFIRMED)
        self._verdict(mistaken, Verdict.NOT_A_MATCH)
        self._wait_for([confirmed], State.REMOVED)
        self._screen.check(bool(self._visitor.denied([confirmed.key])), "removed: its GET is denied")
        purged = self._screen.wait(lambda: self._seen(confirmed).applied == "purged")
        versions = self._versions(confirmed)
        self._screen.check(
            purged and versions == 0,
            f"after the grace period ({REMOVAL_DELAY:g} s here, 10 min by default) its version is deleted",
            f"{versions} versions left",
        )
        self._wait_for([mistaken], State.RELEASED)
        self._screen.check(
            bool(self._visitor.served({mistaken.key: mistaken.body})),
            "released: its GET gives it, byte for byte",
        )

    def _upload_again(self, scenario: Scenario) -> None:
        self._screen.act(
            "A decision lasts",
            "The same bytes are never reviewed twice, and what was removed is in the platform's own bank now.",
        )
        folder = self._deployment.settings.epochs_dir
        self._screen.wait(lambda: read_pointer(folder).number > self._own_before)
        time.sleep(self._deployment.settings.index.poll_every)  # workers look for a new epoch this often
        same = Planned("u30/same.jpg", "the removed one, same bytes", scenario.confirmed.body, State.REMOVED)
        fine = Planned("u32/bridge.jpg", "the released one, same bytes", scenario.mistaken.body, State.CLEAR)
        uploads = (same, scenario.copy_of_confirmed, fine)
        for upload in uploads:
            self._put(upload)
            self._screen.wait(partial(self._settled, upload.key))
        seen = self._follow(uploads)
        self._check_states(uploads, seen)
        self._alone = _times(seen)
        told = seen.get(scenario.copy_of_confirmed.key)
        banks = [match.bank for match in told.matches] if told else []
        self._screen.check(OWN_BANK in banks, "the own bank recognised the copy", ", ".join(banks))
        keys = [same.key, scenario.copy_of_confirmed.key]
        self._screen.check(len(self._visitor.denied(keys)) == len(keys), "both copies: GET is denied")
        self._screen.check(
            bool(self._visitor.served({fine.key: fine.body})), "the released one: served again"
        )

    def _withdraw(self, scenario: Scenario) -> None:
        number = scenario.withdrawn_case
        self._screen.act(
            "A person takes their case back",
            f"Case {number} is withdrawn at the bank with its PIN. The next sync learns it, and what only this "
            "case held is served again.",
        )
        uploads = [upload for upload in scenario.uploads if upload.case == number]
        before = [upload for upload in uploads if self._seen(upload).state is State.HELD]
        self._bank.withdraw(self._cases[number])
        started = time.monotonic()
        for line in self._deployment.command("bank", "sync", BANK).splitlines():
            self._screen.say(line)
        self._wait_for(before, State.RELEASED)
        served = self._visitor.served({upload.key: upload.body for upload in before})
        self._screen.check(
            len(before) == len(uploads) and len(served) == len(before),
            f"{len(served)} of {len(before)} held uploads are served again, byte for byte, "
            f"{time.monotonic() - started:.1f} s after the withdrawal",
        )
        expected = self._hashes_sent - len(self._bank.progress(self._cases[number])["hashes"])
        live = self._live_entries(BANK)
        self._screen.check(live == expected, f"{live} of its entries still match", f"expected {expected}")

    def _follow(self, uploads: Sequence[Planned]) -> dict[str, Seen]:
        keys = [upload.key for upload in uploads]
        return dict(self._screen.follow(uploads, lambda: self._watcher.look(keys), seconds=120))

    def _check_states(self, uploads: Sequence[Planned], seen: dict[str, Seen]) -> None:
        """Every upload has its expected state, and matched its case where it has one."""
        wrong = [upload.what for upload in uploads if not _as_expected(upload, seen.get(upload.key))]
        self._screen.check(
            not wrong, f"{len(uploads) - len(wrong)} of {len(uploads)} came out as expected", "; ".join(wrong)
        )

    def _put(self, upload: Planned) -> None:
        if not upload.early:
            self._watcher.put_at[upload.key] = time.time()
        # Readable by everybody, as a platform's public pictures are: a later GET without a key proves something.
        self._deployment.s3.put_object(
            Bucket=BUCKET,
            Key=upload.key,
            Body=upload.body,
            ContentType=upload.content_type,
            ACL="public-read",
        )

    def _put_all(self, uploads: Sequence[Planned]) -> None:
        for upload in uploads:
            self._put(upload)

    def _settled(self, key: str) -> bool:
        seen = self._watcher.look([key])
        return key in seen and seen[key].settled

    def _seen(self, upload: Planned) -> Seen:
        seen = self._watcher.look([upload.key]).get(upload.key)
        if seen is None:
            raise EmbeddedError(
                "An upload of the demonstration has no row.",
                next_step=f"The logs in {self._deployment.embedded.state_dir / 'logs'} say why.",
            )
        return seen

    def _wait_for(self, uploads: Sequence[Planned], state: State) -> None:
        keys = [upload.key for upload in uploads]

        def there() -> bool:
            return all(seen.state is state and seen.settled for seen in self._watcher.look(keys).values())

        arrived = self._screen.wait(there)
        what = uploads[0].what if len(uploads) == 1 else f"{len(uploads)} uploads"
        self._screen.check(arrived, f"{what}: now {state.value}")

    def _verdict(self, upload: Planned, verdict: Verdict) -> None:
        seen = self._seen(upload)
        if seen.review_id is None:
            self._screen.check(False, f"{upload.what}: has a review")
            return
        decided = decide_review(
            self._deployment.sessions,
            self._deployment.settings.policy,
            seen.review_id,
            verdict,
            actor=_REVIEWER,
            request_id=str(uuid.uuid4()),
        )
        announcer = Announcer(self._deployment.settings)
        announcer(decided.moved)
        announcer.close()
        self._screen.say(f"review {seen.review_id}, {upload.what}: {verdict.value}")

    def _versions(self, upload: Planned) -> int:
        listed = self._deployment.s3.list_object_versions(Bucket=BUCKET, Prefix=upload.key)
        return len(listed.get("Versions", []))

    def _live_entries(self, bank: str) -> int:
        with self._deployment.sessions() as session:
            return session.scalars(
                select(func.count()).where(BankEntry.bank == bank, BankEntry.live.is_(True))
            ).one()


def _times(seen: dict[str, Seen]) -> list[float]:
    return [found.milliseconds for found in seen.values() if found.milliseconds is not None]


def _as_expected(upload: Planned, seen: Seen | None) -> bool:
    if seen is None or not seen.settled or seen.state is not upload.expected:
        return False
    return not upload.case or upload.case in {match.case for match in seen.matches}
