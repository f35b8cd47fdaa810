"""One container of the image under crun, shut in as docker/compose.yaml shuts it in; no Docker daemon is needed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

DOCKER = Path(__file__).parents[2] / "docker"
USER = 10001
_TMPFS = ("nosuid", "nodev", "noexec", f"uid={USER}", f"gid={USER}")
_CRUN = ("crun", "--cgroup-manager=disabled")
_CAPABILITIES = ("bounding", "effective", "permitted", "inheritable", "ambient")


class Container:
    """Runs `hashwarden COMMAND` as process 1, on the host's network. `binds` are folders that it may write to."""

    def __init__(
        self,
        image: dict[str, Any],
        root: Path,
        command: list[str],
        variables: dict[str, str],
        binds: list[Path],
    ) -> None:
        self._bundle = Path(tempfile.mkdtemp(prefix="hashwarden-bundle-"))
        self.name = self._bundle.name
        subprocess.run(["crun", "spec"], cwd=self._bundle, check=True)  # noqa: S607 (found by the path)
        file = self._bundle / "config.json"
        spec = json.loads(file.read_text(encoding="utf-8"))
        spec["root"] = {"path": str(root), "readonly": True}
        spec["process"] |= {
            "terminal": False,
            "user": {"uid": USER, "gid": USER},
            "args": [*image["Entrypoint"], *command],
            "cwd": image["WorkingDir"],
            "env": [*image["Env"], *(f"{name}={value}" for name, value in variables.items())],
            "noNewPrivileges": True,
            "capabilities": {kind: [] for kind in _CAPABILITIES},
        }
        spec["linux"]["seccomp"] = _profile()
        shared = {"network", "cgroup"}
        spec["linux"]["namespaces"] = [
            one for one in spec["linux"]["namespaces"] if one["type"] not in shared
        ]
        spec["mounts"] = [mount for mount in spec["mounts"] if mount["destination"] != "/sys/fs/cgroup"]
        spec["mounts"] += [_tmpfs("/tmp", "1777"), _tmpfs("/run/hashwarden", "0700")]  # noqa: S108 (in the container)
        spec["mounts"] += [
            {"destination": str(path), "type": "bind", "source": str(path), "options": ["rbind", "rw"]}
            for path in binds
        ]
        file.write_text(json.dumps(spec), encoding="utf-8")
        self._log = (self._bundle / "log").open("w+", encoding="utf-8")
        # crun refuses a second cgroup hierarchy that it can't use; it is hidden from it alone.
        start = 'umount /sys/fs/cgroup/unified 2>/dev/null; exec crun --cgroup-manager=disabled run "$0"'
        self._process = subprocess.Popen(  # noqa: S603 (a fixed command)
            ["unshare", "--mount", "sh", "-c", start, self.name],  # noqa: S607
            cwd=self._bundle,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def exec(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run one more program in it, as HEALTHCHECK does."""
        return subprocess.run(  # noqa: S603 (a fixed command)
            [*_CRUN, "exec", f"--user={USER}:{USER}", self.name, *command],
            capture_output=True,
            text=True,
        )

    def stop(self, seconds: float) -> int:
        """SIGTERM to process 1, as `docker stop` does; its exit code. Raises TimeoutExpired after the grace."""
        subprocess.run(  # noqa: S603 (a fixed command)
            [*_CRUN, "kill", self.name, "TERM"],
            check=True,
        )
        return self._process.wait(seconds)

    def end(self) -> None:
        """Whatever it does; what it said goes as well."""
        subprocess.run([*_CRUN, "delete", "--force", self.name], capture_output=True)  # noqa: S603 (a fixed command)
        self._process.wait()
        self._log.close()
        shutil.rmtree(self._bundle)

    def wait(self, seconds: float = 120) -> tuple[int, str]:
        code = self._process.wait(seconds)
        return code, self.said()

    def said(self) -> str:
        return (self._bundle / "log").read_text(encoding="utf-8")


def _profile() -> dict[str, Any]:
    profile: dict[str, Any] = json.loads((DOCKER / "seccomp.json").read_text(encoding="utf-8"))
    for rule in profile["syscalls"]:
        rule.pop("comment", None)
    return profile


def _tmpfs(destination: str, mode: str) -> dict[str, Any]:
    return {
        "destination": destination,
        "type": "tmpfs",
        "source": "tmpfs",
        "options": [*_TMPFS, f"mode={mode}"],
    }


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
