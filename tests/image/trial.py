"""The image without Docker: built by buildah, run by crun, every role of it against the embedded servers.

    python -m tests.image.trial [BASE]

Needs root, Debian, and its packages buildah, crun and debootstrap. BASE names a local image to build on; without it one
is made of Debian 13's own packages. docker/README.md says what this shows and what it does not.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from config.object_store import make_client
from config.settings import StorageSettings
from tests.image.container import USER, Container, say
from worker.demo.embedded import ACCESS_KEY, REGION, SECRET_KEY, Embedded
from worker.operate.supervise import STOP_SECONDS

ROOT = Path(__file__).parents[2]
PHOTOS = ROOT / "worker/demo/photos"
IMAGE = "localhost/hashwarden:trial"
DEBIAN_BASE = "localhost/hashwarden-base:trial"
_CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
_PACKAGES = "python3,python3-venv,python3-dev,ca-certificates,g++"
_PATIENCE = 60.0
"""Seconds."""
_ROLES = {
    "worker": ["worker", "--lane", "image", "--concurrency", "1"],
    "dispatch": ["dispatch"],
    "sweep": ["sweep"],
    "review-app": ["review-app"],
}


def _run(*command: str) -> str:
    # The namespaces of buildah's own isolation need what a virtual machine may not give.
    variables = {**os.environ, "BUILDAH_ISOLATION": "chroot"}
    told = subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE, env=variables)  # noqa: S603 (our own)
    return told.stdout.strip()


def make_base() -> None:
    with tempfile.TemporaryDirectory(prefix="hashwarden-debian-") as folder:
        _run("debootstrap", "--variant=minbase", f"--include={_PACKAGES}", "trixie", folder)
        # Where the official images have it.
        (Path(folder) / "usr/local/bin/python").symlink_to("/usr/bin/python3")
        container = _run("buildah", "from", "scratch")
        _run("buildah", "copy", "--quiet", container, folder, "/")
        _run("buildah", "commit", "--quiet", "--rm", container, DEBIAN_BASE)


def build(base: str) -> None:
    _run(
        *(
            "buildah",
            "bud",
            "--quiet",
            "--layers",
            "--format=docker",
            "--pull-never",
            "--file=docker/Dockerfile",
        ),
        *(f"--build-arg=BUILD_BASE={base}", f"--build-arg=BASE={base}"),
        f"--volume={_CERTIFICATES}:{_CERTIFICATES}:ro",
        *(f"--tag={IMAGE}", str(ROOT)),
    )


@contextmanager
def mounted() -> Iterator[Path]:
    container = _run("buildah", "from", "--pull-never", IMAGE)
    try:
        yield Path(_run("buildah", "mount", container))
    finally:
        _run("buildah", "rm", container)


def check(what: str, holds: object, said: str = "") -> None:
    """One line; ends the trial when it does not hold, with what a container said."""
    say(f"{'ok  ' if holds else 'FAIL'}  {what}")
    if not holds:
        say(said)
        sys.exit(1)


def until(what: str, holds: Callable[[], object], said: Callable[[], str]) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not (found := holds()) and time.monotonic() < deadline:
        time.sleep(0.2)
    check(what, found, "" if found else said())


def _turns(container: Container) -> bool:
    return container.exec("hashwarden", "alive").returncode == 0


def main() -> None:
    base = sys.argv[1] if len(sys.argv) > 1 else DEBIAN_BASE
    if base == DEBIAN_BASE:
        make_base()
    build(base)
    say(f"ok    docker/Dockerfile is built on {base}")
    image = json.loads(_run("buildah", "inspect", "--type=image", IMAGE))["Docker"]["config"]
    check("it says how to check itself", image["Healthcheck"]["Test"] == ["CMD", "hashwarden", "alive"])
    with tempfile.TemporaryDirectory(prefix="hashwarden-trial-") as folder, mounted() as root:
        state = Path(folder) / "state"
        state.mkdir()
        os.chown(state, USER, USER)
        Path(folder).chmod(0o755)
        with Embedded(Path(folder) / "servers", fsync=False) as servers, ExitStack() as ending:
            trial(image, root, state, servers, ending)


def trial(image: dict[str, Any], root: Path, state: Path, servers: Embedded, ending: ExitStack) -> None:
    sockets = Path(servers.database_url.split("host=")[1].split("&")[0]).parent
    # The container's user is another one than the servers'.
    for path in [sockets, *sockets.rglob("*")]:
        path.chmod(0o777)
    variables = {
        "HASHWARDEN_STATE_DIR": str(state),
        "HASHWARDEN_DATABASE__URL": servers.database_url,
        "HASHWARDEN_BROKER__URL": servers.broker_url,
        "HASHWARDEN_STORAGE__ENDPOINT_URL": servers.s3_endpoint,
        "HASHWARDEN_STORAGE__REGION": REGION,
        "HASHWARDEN_STORAGE__ACCESS_KEY": ACCESS_KEY,
        "HASHWARDEN_STORAGE__SECRET_KEY": SECRET_KEY,
        "HASHWARDEN_STORAGE__BUCKETS": '["uploads"]',
        "HASHWARDEN_SWEEP__RECENT_EVERY": "1",
    }

    def container(*command: str) -> Container:
        made = Container(image, root, list(command), variables, [state, sockets])
        ending.callback(made.end)
        return made

    def done(*command: str) -> str:
        code, said = container(*command).wait()
        check(f"`{' '.join(command)}` ends with 0", code == 0, said)
        return said

    client = make_client(
        StorageSettings(
            endpoint_url=servers.s3_endpoint,
            region=REGION,
            access_key=SecretStr(ACCESS_KEY),
            secret_key=SecretStr(SECRET_KEY),
        )
    )
    client.create_bucket(Bucket="uploads")
    client.put_bucket_versioning(Bucket="uploads", VersioningConfiguration={"Status": "Enabled"})
    check("`migrate` makes the schema", "has schema" in done("migrate"))
    shutil.copy(PHOTOS / "bee.jpg", state / "bee.jpg")
    hashed = json.loads(done("hash", "--json", str(state / "bee.jpg")).splitlines()[-1])
    (state / "bank.txt").write_text(f"pdq {hashed['pdq']['hash']}\n", encoding="utf-8")
    done("bank", "import", str(state / "bank.txt"))
    done("bank", "sync", "--all")
    told = [
        json.loads(line) for line in container("doctor", "--json").wait()[1].splitlines() if line[0] == "{"
    ]
    walls = {each["name"]: each["status"] for each in told if each["part"] == "sandbox"}
    check(
        f"walls around the decoders: {walls}",
        [name for name, how in walls.items() if how != "ok"] == ["other_user"],
    )

    running = {name: container(*command) for name, command in _ROLES.items()}
    for name, each in running.items():
        until(f"{name} turns, says `hashwarden alive` beside it", partial(_turns, each), each.said)
    client.put_object(Bucket="uploads", Key="ann/bee.jpg", Body=(PHOTOS / "bee.jpg").read_bytes())
    client.put_object(Bucket="uploads", Key="ann/cat.jpg", Body=(PHOTOS / "cat.jpg").read_bytes())

    def keys() -> set[str]:
        return {each["Key"] for each in client.list_objects_v2(Bucket="uploads").get("Contents", [])}

    until(
        "the match is withheld, the other picture is served",
        lambda: keys() == {"ann/cat.jpg"},
        running["worker"].said,
    )

    def states() -> list[str]:
        _, said = container("uploads", "--json").wait()
        return sorted(json.loads(line)["state"] for line in said.splitlines() if line.startswith("{"))

    until("both are decided", lambda: states() == ["clear", "held"], running["worker"].said)
    for name, each in running.items():
        began = time.monotonic()
        code = each.stop(STOP_SECONDS)
        after = time.monotonic() - began
        check(f"{name} ends with {code}, {after:.1f} s after SIGTERM", code == 0, each.said())


if __name__ == "__main__":
    main()
