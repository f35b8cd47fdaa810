"""What stores and the platform push over a real socket: who is let in, what is taken, and what is answered when not."""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import OperationalError
from structlog.testing import capture_logs

from config.errors import SettingsError
from config.inbox import InboxSettings
from config.settings import load_settings
from tests.integration.console import served
from worker.commands.services import own_command
from worker.domain import Lane, State
from worker.errors import StorageError
from worker.events.inbox import Inbox
from worker.operate.check import Status
from worker.operate.doctor_events import event_checks
from worker.push import app as push
from worker.push.app import MAX_EVENT_BYTES, PushApp
from worker.storage.s3 import S3Store
from worker.store.models import InboxReject, Upload

if TYPE_CHECKING:
    from tests.integration.conftest import Rig

STORE, NEXT, PLATFORM = "s" * 40, "n" * 40, "p" * 40
AS_PLATFORM = {"authorization": f"Bearer {PLATFORM}"}
KEY = "users/7/an odd näme+&100%.jpg"
BODIES = Path(__file__).parents[1] / "data" / "events"

Wait = Callable[..., object]


@dataclass
class Place:
    rig: Rig
    app: PushApp
    inbox: Inbox
    store: S3Store
    client: httpx.Client
    url: str

    def event(self, bucket: str, key: str = KEY, **told: Any) -> httpx.Response:  # noqa: ANN401
        """Sends what MinIO's webhook target sends."""
        return self.client.post("/v1/events", json=notification(bucket, key, **told))

    def item(self, **body: Any) -> httpx.Response:  # noqa: ANN401
        return self.client.post("/v1/items", json=body, headers=AS_PLATFORM)

    def rows(self) -> list[Upload]:
        with self.rig.sessions() as session:
            return list(session.scalars(select(Upload).order_by(Upload.id)))

    def rejects(self) -> list[tuple[str, int]]:
        with self.rig.sessions() as session:
            return [(reject.reason, reject.seen) for reject in session.scalars(select(InboxReject))]


def notification(bucket: str, key: str = KEY, **told: Any) -> dict[str, Any]:  # noqa: ANN401
    body: dict[str, Any] = json.loads((BODIES / "minio_webhook.json").read_text("utf-8"))["body"]
    s3 = body["Records"][0]["s3"]
    s3["bucket"]["name"] = bucket
    s3["object"] |= {"key": httpx.QueryParams({"k": key}).__str__()[2:]} | told
    return body


@pytest.fixture
def place(rig: Rig) -> Iterator[Place]:
    settings = rig.settings.model_copy(
        update={"inbox": InboxSettings(store_tokens=[STORE, NEXT], platform_tokens=[PLATFORM])}
    )
    store = S3Store(settings.storage)
    inbox = Inbox(rig.sessions, store, rig._announce, settings.storage)
    app = PushApp(settings, rig.sessions, store, inbox)
    with (
        served(app.asgi) as url,
        httpx.Client(base_url=url, headers={"authorization": f"Bearer {STORE}"}) as client,
    ):
        yield Place(rig, app, inbox, store, client, url)


def told(answer: httpx.Response) -> tuple[int, str]:
    """Status and code of a problem; its form is checked."""
    problem = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["status"] == answer.status_code
    assert problem["type"] == f"urn:hashwarden:problem:{problem['code']}"
    assert problem["detail"]
    assert problem["next_step"]
    return answer.status_code, problem["code"]


def test_a_notification_is_a_committed_row_when_it_is_answered(place: Place, versioned_bucket: str) -> None:
    assert place.event(versioned_bucket, versionId="v1").status_code == 204
    (row,) = place.rows()
    assert (row.bucket, row.key, row.version_id) == (versioned_bucket, KEY, "v1")
    assert (row.state, row.source) == (State.PENDING, "event")
    assert place.rig.announced == [(row.id, Lane.IMAGE)]
    assert place.event(versioned_bucket, versionId="v1").status_code == 204
    assert len(place.rows()) == 1


def test_every_shape_is_taken_here_too(place: Place) -> None:
    for path in BODIES.glob("*.json"):
        body = json.loads(path.read_text("utf-8"))["body"]
        assert place.client.post("/v1/events", json=body).status_code == 204
    assert place.rejects() == []


def test_minio_asks_whether_anybody_is_there_without_a_token(place: Place) -> None:
    answer = httpx.head(f"{place.url}/v1/events")
    assert (answer.status_code, answer.content) == (200, b"")
    assert httpx.get(f"{place.url}/health/live").status_code == 200
    assert httpx.get(f"{place.url}/health/ready").json() == {"ready": True}


def test_a_body_that_nobody_understands_is_kept_and_answered_once_and_for_all(place: Place) -> None:
    for _ in range(2):
        assert place.client.post("/v1/events", content=b"\xffwhat\x00").status_code == 204
    assert place.rejects() == [("not_json", 2)]


def basic(password: str) -> str:
    return "Basic " + base64.b64encode(f"ceph:{password}".encode()).decode()


def test_each_token_of_a_store_lets_in(place: Place) -> None:
    body = {"Event": "s3:TestEvent", "Bucket": "b"}
    for value in (f"Bearer {STORE}", f"bearer {NEXT}", basic(STORE), basic(NEXT)):
        answer = httpx.post(f"{place.url}/v1/events", json=body, headers={"authorization": value})
        assert answer.status_code == 204


def test_a_stores_token_tells_nothing_of_items_nor_the_platforms_of_events(
    place: Place, versioned_bucket: str
) -> None:
    assert place.event(versioned_bucket, versionId="v1").status_code == 204
    (row,) = place.rows()
    assert told(place.client.get(f"/v1/items/{row.id}")) == (401, "unauthorized")
    assert told(place.client.post("/v1/items", json={})) == (401, "unauthorized")
    assert told(place.client.post("/v1/events", json={}, headers=AS_PLATFORM)) == (401, "unauthorized")


WRONG = [
    b"",
    b"Bearer",
    STORE.encode(),
    f"Bearer {STORE}x".encode(),
    f"Bearer {STORE[:-1]}".encode(),
    f"Bearer {STORE} {NEXT}".encode(),
    f"Token {STORE}".encode(),
    basic("").encode(),
    basic(STORE[:-1]).encode(),
    b"Basic %%%",
    b"Basic " + base64.b64encode(STORE.encode()),
    b"Bearer \xff\xfe",
]


@pytest.mark.parametrize("address", ["POST /v1/events", "POST /v1/items", "GET /v1/items/1"])
def test_nobody_else_is_let_in(place: Place, address: str) -> None:
    method, _, path = address.partition(" ")
    content = b"what is this" if method == "POST" else None
    headers: list[dict[str, bytes]] = [{}, *({"authorization": value} for value in WRONG)]
    for sent in headers:
        answer = httpx.request(method, place.url + path, content=content, headers=sent)  # type: ignore[arg-type]
        assert told(answer) == (401, "unauthorized"), sent
        assert answer.headers["www-authenticate"] == "Bearer"
    assert place.rejects() == []


def test_wrong_tokens_are_one_line_and_no_line_names_one(place: Place) -> None:
    with capture_logs() as lines:
        for _ in range(5):
            httpx.post(f"{place.url}/v1/events", headers={"authorization": "Bearer wrong"})
    assert [(line["event"], line["fault"]) for line in lines] == [("push_not_taken", "unauthorized")]
    assert "wrong" not in str(lines)


def test_a_body_over_the_limit_is_not_read_to_its_end(place: Place) -> None:
    assert told(place.client.post("/v1/events", content=b" " * (MAX_EVENT_BYTES + 1))) == (413, "too_long")

    def endless() -> Iterator[bytes]:
        for _ in range(64):
            yield b" " * 64 * 1024

    assert told(place.client.post("/v1/items", content=endless(), headers=AS_PLATFORM)) == (413, "too_long")
    exact = json.dumps(notification("elsewhere")).encode()
    exact += b" " * (MAX_EVENT_BYTES - len(exact))
    assert place.client.post("/v1/events", content=exact).status_code == 204
    assert place.rows() == []


def test_a_body_that_never_comes_is_ended(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(push, "BODY_SECONDS", 0.2)
    with socket.create_connection(("127.0.0.1", int(place.url.rpartition(":")[2])), timeout=20) as slow:
        slow.sendall(
            f"POST /v1/events HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {STORE}\r\n"
            "Content-Length: 100\r\n\r\n{".encode()
        )
        assert slow.recv(4096).startswith(b"HTTP/1.1 408 ")
    assert place.rejects() == []


def test_more_at_once_than_are_served_come_again(
    place: Place, versioned_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(push, "MOST_AT_ONCE", 1)
    entered, leave = threading.Event(), threading.Event()
    take = place.inbox.take

    def slow(events: Any, source: str) -> Any:  # noqa: ANN401
        entered.set()
        leave.wait(20)
        return take(events, source)

    monkeypatch.setattr(place.inbox, "take", slow)
    first = threading.Thread(target=place.event, args=(versioned_bucket,), kwargs={"versionId": "v1"})
    first.start()
    try:
        assert entered.wait(20)
        answer = place.event(versioned_bucket, versionId="v2")
        assert told(answer) == (503, "busy")
        assert int(answer.headers["retry-after"]) > 0
        assert httpx.get(f"{place.url}/health/ready").status_code == 503
        # Whoever asks only whether it is there is answered all the same.
        assert httpx.head(f"{place.url}/v1/events").status_code == 200
    finally:
        leave.set()
        first.join()
    assert place.event(versioned_bucket, versionId="v2").status_code == 204
    assert {row.version_id for row in place.rows()} == {"v1", "v2"}


@pytest.mark.parametrize(
    "fault",
    [
        OperationalError("SELECT", {}, Exception("gone")),
        StorageError("The store answered 503.", next_step="It is tried again."),
    ],
)
def test_what_can_not_be_taken_now_is_not_answered_as_taken(
    place: Place, versioned_bucket: str, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    def failing(_events: Any, _source: str) -> Any:  # noqa: ANN401
        raise fault

    with monkeypatch.context() as patch:
        patch.setattr(place.inbox, "take", failing)
        answer = place.event(versioned_bucket, versionId="v1")
        assert told(answer)[0] == 503
        assert told(place.item(bucket=versioned_bucket, key="a", version_id="v1"))[0] == 503
    assert place.rows() == []
    assert place.event(versioned_bucket, versionId="v1").status_code == 204


def test_an_item_is_taken_and_its_place_tells_what_became_of_it(place: Place, versioned_bucket: str) -> None:
    put = place.rig.s3.put_object(Bucket=versioned_bucket, Key=KEY, Body=b"picture")
    answer = place.item(bucket=versioned_bucket, key=KEY)
    assert answer.status_code == 202
    (row,) = place.rows()
    assert (row.version_id, row.size, row.source) == (put["VersionId"], 7, "push")
    assert answer.headers["location"] == f"/v1/items/{row.id}"
    item = {
        "upload_id": row.id,
        "bucket": versioned_bucket,
        "key": KEY,
        "version_id": put["VersionId"],
        "state": "pending",
    }
    assert answer.json() == item
    place.rig.publish()
    place.rig.process(row.id)
    seen = place.client.get(answer.headers["location"], headers=AS_PLATFORM)
    assert (seen.status_code, seen.json()["upload_id"]) == (200, row.id)
    assert seen.json()["state"] == place.rows()[0].state != "pending"


def test_an_item_that_is_pushed_twice_is_one(place: Place, versioned_bucket: str, plain_bucket: str) -> None:
    first = place.rig.s3.put_object(Bucket=versioned_bucket, Key="a.jpg", Body=b"one")
    place.rig.s3.put_object(Bucket=versioned_bucket, Key="a.jpg", Body=b"two")
    etag = place.rig.s3.put_object(Bucket=plain_bucket, Key="a.jpg", Body=b"one")["ETag"]
    pushes = [
        {"bucket": versioned_bucket, "key": "a.jpg", "version_id": first["VersionId"]},
        {
            "bucket": versioned_bucket,
            "key": "a.jpg",
            "idempotency_key": "7",
            "created_at": "2026-05-04T09:12:33Z",
        },
        {"bucket": plain_bucket, "key": "a.jpg", "etag": etag},
    ]
    places = [[place.item(**body).headers["location"] for _ in range(2)] for body in pushes]
    assert all(one == other for one, other in places)
    assert len({one for one, _ in places}) == len(place.rows()) == 3
    assert place.event(versioned_bucket, "a.jpg", versionId=first["VersionId"]).status_code == 204
    assert len(place.rows()) == 3


def test_an_item_that_is_withheld_is_known_and_not_missing(place: Place, versioned_bucket: str) -> None:
    body = place.rig.jpeg(place.rig.picture(5))
    place.rig.bank_pdq(place.rig.hash_of(body))
    upload_id, state = place.rig.scan(versioned_bucket, "a.jpg", body)
    assert state is State.HELD
    assert place.rig.get(versioned_bucket, "a.jpg") is None
    answer = place.item(bucket=versioned_bucket, key="a.jpg")
    assert (answer.status_code, answer.json()["upload_id"], answer.json()["state"]) == (
        202,
        upload_id,
        "held",
    )


def test_what_is_no_item_is_told_and_not_repeated(
    place: Place, versioned_bucket: str, plain_bucket: str
) -> None:
    place.rig.s3.put_object(Bucket=plain_bucket, Key="a.jpg", Body=b"one")
    assert told(place.item(bucket=versioned_bucket, key="none.jpg")) == (404, "object_gone")
    assert told(place.item(bucket=plain_bucket, key="a.jpg", etag="f" * 32)) == (409, "object_superseded")
    quarantine = place.rig.settings.storage.quarantine_bucket
    for bucket in ("elsewhere", quarantine):
        assert told(place.item(bucket=bucket, key="a.jpg")) == (422, "not_scanned")
    assert told(place.item(bucket=plain_bucket, key=".hashwarden-doctor/a")) == (422, "not_scanned")
    assert told(place.client.get("/v1/items/999", headers=AS_PLATFORM)) == (404, "not_there")
    assert told(place.client.get(f"/v1/items/{10**30}", headers=AS_PLATFORM)) == (404, "not_there")
    assert told(place.client.get("/v1/elsewhere")) == (404, "not_there")
    assert told(place.client.put("/v1/items")) == (405, "method")
    assert place.rows() == []


NO_ITEMS: list[tuple[bytes, str | None]] = [
    (b"", None),
    (b"[]", None),
    (b"what", None),
    (b"\xff", None),
    (b'{"bucket": "b"}', "key"),
    (b'{"bucket": "b", "key": ""}', "key"),
    (b'{"bucket": "b", "key": 7}', "key"),
    (b'{"bucket": "b", "key": "k", "version_id": null}', "version_id"),
    (b'{"bucket": "b", "key": "k", "media_url": "http://169.254.169.254/secret"}', "media_url"),
    (b'{"bucket": "b", "key": "k", "created_at": "yesterday"}', "created_at"),
    (b'{"bucket": "b", "key": "k", "created_at": "2026-05-04T09:12:33"}', "created_at"),
    (b'{"bucket": "b", "key": "k", "idempotency_key": "' + b"secret" * 50 + b'"}', "idempotency_key"),
    (b'{"bucket": "b", "key": "a\\u0000secret"}', None),
    (b'{"bucket": "b", "key": "' + b"secret" * 200 + b'"}', None),
]


def test_a_body_that_is_no_item_is_one_clear_error(place: Place) -> None:
    for body, field in NO_ITEMS:
        answer = place.client.post("/v1/items", content=body, headers=AS_PLATFORM)
        assert told(answer) == (422, "invalid"), body
        assert "secret" not in answer.text
        if field is not None:
            assert f"'{field}'" in answer.json()["detail"]
    assert place.rows() == []


@pytest.fixture
def inbox_app(environment: dict[str, str], tmp_path: Path) -> Iterator[Callable[[], tuple[Any, str]]]:
    """`hashwarden inbox-app` as a process, and its address."""
    variables = {
        **os.environ,
        **environment,
        "HASHWARDEN_INBOX__STORE_TOKENS": json.dumps([STORE]),
        "HASHWARDEN_INBOX__PORT": "0",
        "PYTHONUNBUFFERED": "1",
    }
    started: list[subprocess.Popen[str]] = []

    def start() -> tuple[subprocess.Popen[str], str]:
        process = subprocess.Popen(  # noqa: S603 (our own command)
            own_command("inbox-app"), env=variables, stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        assert process.stdout is not None
        address = next(line for line in process.stdout if line.startswith("Inbox at "))
        return process, address.removeprefix("Inbox at ").strip()

    yield start
    for process in started:
        process.kill()
        process.communicate(timeout=20)
    assert tmp_path


def test_a_process_killed_before_the_commit_has_answered_nothing(
    rig: Rig,
    versioned_bucket: str,
    inbox_app: Callable[[], tuple[subprocess.Popen[str], str]],
    wait_until: Wait,
) -> None:
    body = notification(versioned_bucket, "a.jpg", versionId="v1")
    headers = {"authorization": f"Bearer {STORE}"}
    process, address = inbox_app()
    outcome: list[object] = []

    def send() -> None:
        try:
            outcome.append(httpx.post(f"{address}v1/events", json=body, headers=headers, timeout=60))
        except httpx.HTTPError as fault:
            outcome.append(fault)

    waits = "SELECT EXISTS (SELECT FROM pg_locks WHERE relation = 'uploads'::regclass AND NOT granted)"
    with rig.sessions.begin() as session:
        session.execute(text("LOCK TABLE uploads IN ACCESS EXCLUSIVE MODE"))
        sending = threading.Thread(target=send)
        sending.start()
        wait_until(lambda: session.scalar(text(waits)), timeout=30)
        assert outcome == []
        process.send_signal(signal.SIGKILL)
        sending.join(30)
    assert isinstance(outcome[0], httpx.HTTPError)
    with rig.sessions() as session:
        assert session.scalars(select(Upload)).all() == []

    process, address = inbox_app()
    assert httpx.post(f"{address}v1/events", json=body, headers=headers).status_code == 204
    with rig.sessions() as session:
        assert [row.key for row in session.scalars(select(Upload))] == ["a.jpg"]
    process.terminate()
    assert process.wait(40) == 0


@pytest.mark.parametrize("token", ["short", "k" * 31, "k" * 40 + " ", "ä" * 40])
def test_a_token_that_can_be_guessed_or_sent_wrongly_is_refused(token: str) -> None:
    with pytest.raises(SettingsError, match="at least 32") as refused:
        load_settings(inbox={"store_tokens": [token]})
    assert token not in str(refused.value)


def test_settings_keep_tokens_to_themselves() -> None:
    settings = load_settings(inbox={"store_tokens": [STORE], "platform_tokens": [PLATFORM]})
    assert STORE not in repr(settings)
    assert STORE not in settings.model_dump_json()
    assert PLATFORM not in repr(settings) + settings.model_dump_json()


def test_the_doctor_says_who_may_push(place: Place) -> None:
    silent = place.rig.settings.events.model_copy(update={"sqs_queue_url": ""})
    settings = place.rig.settings.model_copy(update={"events": silent})
    for inbox, status, said in (
        (
            InboxSettings(store_tokens=[STORE], platform_tokens=[PLATFORM]),
            Status.OK,
            "stores and the platform",
        ),
        (InboxSettings(platform_tokens=[PLATFORM]), Status.OK, "the platform may push"),
        (InboxSettings(), Status.WARN, "found by the sweep"),
    ):
        (check,) = event_checks(settings.model_copy(update={"inbox": inbox}))
        assert check.status is status
        assert said in check.detail
