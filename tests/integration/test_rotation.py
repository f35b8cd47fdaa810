"""Secrets that are changed while everything runs: two webhook secrets, two keys of a bank."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import func, select
from standardwebhooks import Webhook, WebhookVerificationError

from bank_sync import feedback
from bank_sync.bank import BankCheckpoint, BankEntry
from bank_sync.exchanges import open_exchange
from bank_sync.exchanges.protocol import KeysRefusedError
from bank_sync.sandbox.app import PracticeKeys, running
from bank_sync.sandbox.client import PracticeClient
from bank_sync.sync import sync_bank
from config.policy import BankSettings
from config.settings import Settings, WebhookSettings
from worker.operate.alarms.alarm import AlarmCode
from worker.operate.alarms.banks import banks as bank_alarms
from worker.operate.check import Check
from worker.operate.doctor import examine
from worker.outbox import WebhookSender
from worker.store.models import WebhookMessage

if TYPE_CHECKING:
    from config.database import Sessions
    from tests.integration.conftest import Rig

BANK = "stopncii"
OLD, NEW, OTHER = ("whsec_" + letter * 32 for letter in "ABC")
SIGNALS = [("pdq", bytes([number]) * 32) for number in range(1, 6)]


def sent(rig: Rig, **secrets: str) -> list[httpx.Request]:
    """What the platform gets of one message, signed with these secrets."""
    got: list[httpx.Request] = []

    def platform(request: httpx.Request) -> httpx.Response:
        got.append(request)
        return httpx.Response(204)

    with rig.sessions.begin() as session:
        session.add(WebhookMessage(type="item.held", payload={"upload_id": 1}))
    settings = WebhookSettings.model_validate({"url": "http://platform.test/hook", **secrets})
    with closing(WebhookSender(rig.sessions, settings, transport=httpx.MockTransport(platform))) as sender:
        sender.send_due()
    return got


def test_while_the_secret_is_changed_both_verify(rig: Rig) -> None:
    (request,) = sent(rig, secret=NEW, second_secret=OLD)
    signatures = request.headers["webhook-signature"].split(" ")
    assert len(signatures) == 2
    assert all(each.startswith("v1,") for each in signatures)
    for known in (OLD, NEW):
        assert Webhook(known).verify(request.content, dict(request.headers)) == json.loads(request.content)
    with pytest.raises(WebhookVerificationError):
        Webhook(OTHER).verify(request.content, dict(request.headers))


def test_afterwards_the_old_one_verifies_no_more(rig: Rig) -> None:
    (request,) = sent(rig, secret=NEW)
    Webhook(NEW).verify(request.content, dict(request.headers))
    with pytest.raises(WebhookVerificationError):
        Webhook(OLD).verify(request.content, dict(request.headers))


def test_the_second_secret_alone_signs_and_none_sends_nothing(rig: Rig) -> None:
    (request,) = sent(rig, second_secret=OLD)
    Webhook(OLD).verify(request.content, dict(request.headers))
    assert sent(rig) == []


CHANGED = PracticeKeys(subscription="new-subscription", fetch="new-fetch", feedback="new-feedback")


class Change:
    """A bank that takes some keys, and a platform that has first and second ones."""

    def __init__(self, rig: Rig, address: str) -> None:
        self.rig = rig
        self.address = address

    def bank(self, **keys: str) -> BankSettings:
        with PracticeClient(self.address) as client:
            return client.bank_settings(**{name: SecretStr(key) for name, key in keys.items()})

    def settings(self, bank: BankSettings) -> Settings:
        return self.rig.settings.model_copy(update={"banks": {BANK: bank}})

    def second_keys(self) -> list[str]:
        with self.rig.sessions() as session:
            return session.get_one(BankCheckpoint, BANK).second_keys

    def alarms(self, bank: BankSettings) -> list[str]:
        with self.rig.sessions() as session:
            found = bank_alarms(session, self.settings(bank))
            return [alarm.message for alarm in found if alarm.code == AlarmCode.BANK_SECOND_KEY]

    def advice(self, bank: BankSettings) -> dict[str, Check]:
        checks = examine(self.settings(bank))
        return {check.name: check for check in checks if check.part == f"bank {BANK}"}


@pytest.fixture
def change(rig: Rig) -> Iterator[Callable[[PracticeKeys], Change]]:
    opened: list[Any] = []

    def begin(keys: PracticeKeys) -> Change:
        opened.append(running(keys=keys))
        return Change(rig, opened[-1].__enter__())

    yield begin
    for bank in opened:
        bank.__exit__(None, None, None)


@pytest.mark.parametrize(
    "refused", [("fetch_key",), ("subscription_key",), ("fetch_key", "subscription_key")]
)
def test_a_second_key_is_tried_where_the_first_is_refused_and_somebody_is_told(
    rig: Rig, change: Callable[[PracticeKeys], Change], refused: Sequence[str]
) -> None:
    changed = {
        "fetch_key": {"fetch": CHANGED.fetch},
        "subscription_key": {"subscription": CHANGED.subscription},
    }
    now = change(PracticeKeys(**{k: v for name in refused for k, v in changed[name].items()}))
    with PracticeClient(now.address) as client:
        client.open_case(SIGNALS)
    seconds = {"second_fetch_key": CHANGED.fetch, "second_subscription_key": CHANGED.subscription}
    bank = now.bank(**seconds).model_copy(update={"page_size": 2})
    report = sync_bank(rig.sessions, BANK, bank)
    assert report.changes.new == len(SIGNALS)
    assert now.second_keys() == sorted(refused)
    names = ", ".join(sorted(refused))
    assert now.alarms(bank) == [f"Bank {BANK} refused {names}: the second keys are in use."]
    assert names in now.advice(bank)["keys"].detail
    assert CHANGED.fetch not in now.advice(bank)["keys"].detail

    firsts = now.bank(
        fetch_key=CHANGED.fetch if "fetch_key" in refused else "practice-fetch-key",
        subscription_key=(
            CHANGED.subscription if "subscription_key" in refused else "practice-subscription-key"
        ),
    )
    sync_bank(rig.sessions, BANK, firsts)
    assert now.second_keys() == []
    assert now.alarms(firsts) == []
    assert "keys" not in now.advice(firsts)


def test_the_second_key_waits_while_the_first_is_taken(
    rig: Rig, change: Callable[[PracticeKeys], Change]
) -> None:
    now = change(PracticeKeys())
    bank = now.bank(second_fetch_key="not yet")
    sync_bank(rig.sessions, BANK, bank)
    assert now.second_keys() == []


def test_the_keys_that_were_taken_are_kept_to(change: Callable[[PracticeKeys], Change]) -> None:
    """A page costs one call, not one for each key that the bank refused at the first."""
    now = change(PracticeKeys(fetch=CHANGED.fetch))
    with PracticeClient(now.address) as client:
        client.open_case(SIGNALS)
    bank = now.bank(second_fetch_key=CHANGED.fetch).model_copy(update={"page_size": 2})
    calls: list[str] = []
    with closing(open_exchange(BANK, bank)) as exchange:
        hooks = {"request": [lambda request: calls.append(request.headers["x-functions-key"])]}
        exchange._client._http.event_hooks = hooks  # type: ignore[attr-defined]
        pages = list(exchange.fetch(exchange.first_start, None))
    assert len(pages) == 3
    assert calls == ["practice-fetch-key", *[CHANGED.fetch] * 3]


def test_when_all_keys_are_refused_the_bank_is_not_read(
    rig: Rig, change: Callable[[PracticeKeys], Change]
) -> None:
    now = change(CHANGED)
    bank = now.bank(second_fetch_key="wrong too", second_subscription_key="and this")
    with pytest.raises(KeysRefusedError) as caught:
        sync_bank(rig.sessions, BANK, bank)
    assert "wrong" not in str(caught.value)
    assert now.second_keys() == []


def test_feedback_uses_its_own_second_key(rig: Rig, change: Callable[[PracticeKeys], Change]) -> None:
    now = change(PracticeKeys(feedback=CHANGED.feedback))
    with PracticeClient(now.address) as client:
        client.open_case(SIGNALS[:1])
    bank = now.bank(second_feedback_key=CHANGED.feedback)
    sync_bank(rig.sessions, BANK, bank)
    _enqueue(rig.sessions)
    assert feedback.send_due(rig.sessions, {BANK: bank}).sent == 1
    assert now.second_keys() == ["feedback_key"]
    sync_bank(rig.sessions, BANK, bank)
    assert now.second_keys() == ["feedback_key"], "a sync says nothing of it"


def _enqueue(sessions: Sessions) -> None:
    with sessions.begin() as session:
        entry = session.scalars(select(func.min(BankEntry.id))).one()
        assert feedback.enqueue(session, entry, feedback.PENDING_REVIEW, feedback.pending_key(entry))
