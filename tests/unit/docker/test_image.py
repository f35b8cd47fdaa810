"""The image's files: linted, and what they promise of users, pins and steps."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from worker.media import isolation, seccomp
from worker.operate import alive

ROOT = Path(__file__).parents[3]
DOCKER = ROOT / "docker"
DOCKERFILE = (DOCKER / "Dockerfile").read_text(encoding="utf-8")
PINS = re.compile(r"^([a-z0-9][a-z0-9._-]*)==(\S+)(.*?)(?=^[a-z0-9]|\Z)", re.MULTILINE | re.DOTALL)


def _pins(lock: Path) -> dict[str, tuple[str, frozenset[str]]]:
    """Version and hashes by name."""
    text = lock.read_text(encoding="utf-8")
    return {
        name: (version, frozenset(re.findall(r"--hash=(sha256:[0-9a-f]{64})", more)))
        for name, version, more in PINS.findall(text)
    }


def test_the_dockerfile_passes_its_linter() -> None:
    told = subprocess.run(  # noqa: S603 (a fixed command of this environment)
        [Path(sys.executable).parent / "hadolint", DOCKER / "Dockerfile"],
        capture_output=True,
        text=True,
    )
    assert (told.returncode, told.stdout + told.stderr) == (0, "")


def test_both_bases_are_pinned_by_digest() -> None:
    bases = dict(re.findall(r"^ARG (BUILD_BASE|BASE)=(\S+)$", DOCKERFILE, re.MULTILINE))
    assert set(bases) == {"BUILD_BASE", "BASE"}
    assert all(re.search(r":[\w.-]+@sha256:[0-9a-f]{64}$", base) for base in bases.values())
    assert re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE) == ["${BUILD_BASE}", "${BASE}"]


def test_it_runs_as_nobody_s_user_and_checks_itself() -> None:
    last = DOCKERFILE.split("FROM ${BASE}")[1]
    assert re.search(r"^USER [1-9]\d{4}:[1-9]\d{4}$", last, re.MULTILINE)
    assert 'ENTRYPOINT ["hashwarden"]' in last
    assert 'CMD ["hashwarden", "alive"]' in last
    assert f"{alive.FOLDER_VARIABLE}=/run/hashwarden" in last
    assert "apt-get" not in DOCKERFILE


def test_the_image_s_lock_is_the_project_s_without_the_extras() -> None:
    mine, all_ = _pins(DOCKER / "requirements.lock"), _pins(ROOT / "requirements.lock")
    assert {name: pin for name, pin in mine.items() if all_.get(name) != pin} == {}, "run `make lock`"
    assert all(hashes for _, hashes in mine.values())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    def names(requirements: list[str]) -> set[str]:
        return {re.split(r"[\[<>=~!; ]", each, maxsplit=1)[0].lower() for each in requirements}

    assert names(project["dependencies"]) <= set(mine)
    embedded, dev = (names(project["optional-dependencies"][extra]) for extra in ("embedded", "dev"))
    assert not embedded & set(mine)
    # What Hashwarden's own parts need as well is there for their sake.
    assert (dev & set(mine)) <= {"pyyaml"}


def test_nothing_but_what_is_built_gets_into_the_build() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    allowed = {rule[1:] for rule in rules if rule.startswith("!")}
    assert all((ROOT / path).exists() for path in allowed)
    copied = re.findall(r'"\$source/([\w./-]+)"', (DOCKER / "build.sh").read_text(encoding="utf-8"))
    assert copied
    assert {path for path in copied if path not in allowed} == set()


@pytest.mark.parametrize("script", sorted(DOCKER.glob("*.sh")), ids=lambda path: path.name)
def test_the_scripts_are_scripts(script: Path) -> None:
    assert script.stat().st_mode & 0o111
    shell = script.read_text(encoding="utf-8").splitlines()[0].removeprefix("#!")
    assert shell in {"/bin/sh", "/bin/bash"}
    assert subprocess.run([shell, "-n", script], capture_output=True).stderr == b""  # noqa: S603 (our own script)


PROFILE = json.loads((DOCKER / "seccomp.json").read_text(encoding="utf-8"))
ALLOWED = {name for rule in PROFILE["syscalls"] if "args" not in rule for name in rule["names"]}


def test_the_profile_names_what_it_allows_and_refuses_the_rest() -> None:
    assert PROFILE["defaultAction"] == "SCMP_ACT_ERRNO"
    assert {rule["action"] for rule in PROFILE["syscalls"]} == {"SCMP_ACT_ALLOW"}


def test_the_profile_allows_what_a_decoder_s_own_filter_does() -> None:
    assert set(seccomp._ALLOWED) - ALLOWED == set()
    assert {"seccomp", "prctl", "capset", "landlock_create_ruleset", "landlock_restrict_self"} <= ALLOWED


def test_of_intrusions_the_profile_allows_only_what_the_services_need() -> None:
    # The services talk to servers and start processes; decoders have a filter of their own that ends them for it.
    needed = {
        "socketpair",
        "connect",
        "bind",
        "listen",
        "accept",
        "sendto",
        "sendmsg",
        "fork",
        "vfork",
        "execve",
    }
    assert set(seccomp._INTRUSIONS) & ALLOWED == needed


def test_the_one_namespace_call_is_the_zygote_s() -> None:
    (rule,) = [rule for rule in PROFILE["syscalls"] if "unshare" in rule["names"]]
    flags = isolation._CLONE_NEWUSER | isolation._CLONE_NEWNET | isolation._CLONE_NEWIPC
    assert rule["args"] == [{"index": 0, "value": flags, "op": "SCMP_CMP_EQ"}]
    (clone,) = [rule for rule in PROFILE["syscalls"] if "clone" in rule["names"]]
    assert clone["args"][0]["op"] == "SCMP_CMP_MASKED_EQ"
    assert clone["args"][0]["value"] & flags == flags
    assert clone["args"][0]["valueTwo"] == 0
    assert "clone3" not in ALLOWED
