"""docker/systemd: units that systemd takes, with the time to end that the code takes, and room for the walls."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from worker.cli import COMMANDS
from worker.media import seccomp
from worker.operate.alive import FOLDER_VARIABLE
from worker.operate.supervise import STOP_SECONDS

FOLDER = Path(__file__).parents[3] / "docker/systemd"
SERVICES = sorted(FOLDER.glob("*.service"))
ANALYZE = shutil.which("systemd-analyze")
_NEEDED = {"unshare", "capset", "prctl", "landlock_create_ruleset", "landlock_restrict_self"}

with_systemd = pytest.mark.skipif(ANALYZE is None, reason="systemd-analyze is not here")


def _values(unit: Path, name: str) -> list[str]:
    return re.findall(rf"^{name}=(.*)$", unit.read_text(encoding="utf-8"), re.MULTILINE)


def _analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    assert ANALYZE is not None
    return subprocess.run(  # noqa: S603 (a fixed command)
        [ANALYZE, *arguments], capture_output=True, text=True
    )


@with_systemd
def test_systemd_takes_them(tmp_path: Path) -> None:
    # A program that is there: systemd looks.
    program = tmp_path / "hashwarden"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    for unit in [*SERVICES, *FOLDER.glob("*.timer")]:
        text = unit.read_text(encoding="utf-8").replace("/opt/hashwarden/bin/hashwarden", str(program))
        (tmp_path / unit.name.replace("@.", "@worker.")).write_text(text)
    units = [path for path in tmp_path.iterdir() if path.suffix in {".service", ".timer"}]
    told = _analyze("verify", "--recursive-errors=no", *units)
    assert (told.returncode, told.stdout + told.stderr) == (0, "")


@with_systemd
def test_they_are_shut_in() -> None:
    for unit in SERVICES:
        told = _analyze("security", "--offline=true", "--threshold=30", unit)
        assert told.returncode == 0, told.stdout


@with_systemd
def test_the_decoders_walls_can_be_put_up() -> None:
    def calls(group: str, known: set[str]) -> set[str]:
        if group in known:
            return set()
        known.add(group)
        names = _analyze("syscall-filter", group).stdout.split("\n")
        found = {
            name.strip() for name in names if name.startswith("    ") and not name.strip().startswith("#")
        }
        groups = {name for name in found if name.startswith("@")}
        return (found - groups).union(*(calls(each, known) for each in groups))

    system_service = calls("@system-service", set())
    for unit in SERVICES:
        (named,) = _values(unit, "SystemCallFilter")
        allowed = system_service | set(named.split())
        assert set(seccomp._ALLOWED) | _NEEDED <= allowed
        assert _values(unit, "RestrictNamespaces") == ["user net ipc"]


@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.name)
def test_a_unit_runs_a_command_that_there_is_as_its_own_user(unit: Path) -> None:
    (command,) = _values(unit, "ExecStart")
    assert command.startswith("/opt/hashwarden/bin/hashwarden ")
    assert command.split()[1] in {*COMMANDS, "%i"}
    assert _values(unit, "User") == ["hashwarden"]
    variables = dict(line.split("=", 1) for line in _values(unit, "Environment"))
    assert set(variables) == {"HASHWARDEN_CONFIG", "HASHWARDEN_SECRETS", "HASHWARDEN_STATE_DIR"}


@pytest.mark.parametrize("name", ["hashwarden.service", "hashwarden@.service"])
def test_a_service_has_the_time_to_end_and_says_that_it_turns(name: str) -> None:
    unit = FOLDER / name
    assert int(_values(unit, "TimeoutStopSec")[0]) > STOP_SECONDS
    assert _values(unit, "KillMode") == ["mixed"]
    # systemd sets the variable for the folder that it makes.
    assert FOLDER_VARIABLE == "RUNTIME_DIRECTORY"
    assert len(_values(unit, "RuntimeDirectory")) == 1


def test_cron_and_timer_run_the_same_as_often() -> None:
    cron = (FOLDER / "hashwarden-bank-sync.cron").read_text(encoding="utf-8")
    (command,) = _values(FOLDER / "hashwarden-bank-sync.service", "ExecStart")
    assert re.search(
        rf"^\*/15 \* \* \* \* hashwarden said=\$\({re.escape(command)} 2>&1\)", cron, re.MULTILINE
    )
    assert _values(FOLDER / "hashwarden-bank-sync.timer", "OnUnitActiveSec") == ["15min"]
