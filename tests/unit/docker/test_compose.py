"""docker/compose.yaml: valid, every role in it, and hardened, waiting and limited as it says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from config.settings import load_settings
from worker.media.limits import Limits
from worker.operate.memory import GIB
from worker.operate.supervise import STOP_SECONDS

DOCKER = Path(__file__).parents[3] / "docker"
COMPOSE: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
SERVERS = {"postgres", "valkey", "s3"}
ONCE = {"migrate", "buckets", "tools"}
ROLES = sorted(set(SERVICES) - SERVERS)
LONG = sorted(set(ROLES) - ONCE - {"bank-sync"})
_HALF_A_GIB = GIB // 2


def _bytes(text: str) -> int:
    number, unit = re.fullmatch(r"(\d+)([mg])", text).groups()  # type: ignore[union-attr]
    return int(number) * (GIB if unit == "g" else GIB // 1024)


def _limits(service: str) -> dict[str, Any]:
    limits: dict[str, Any] = SERVICES[service]["deploy"]["resources"]["limits"]
    return limits


def test_it_is_what_the_compose_specification_allows() -> None:
    told = subprocess.run(  # noqa: S603 (a fixed command of this environment)
        [
            Path(sys.executable).parent / "check-jsonschema",
            *("--builtin-schema", "vendor.compose-spec"),
            DOCKER / "compose.yaml",
        ],
        capture_output=True,
        text=True,
    )
    assert told.returncode == 0, told.stdout


def test_every_role_is_there() -> None:
    commands = {tuple(service.get("command", [])[:1]) for service in SERVICES.values()}
    assert {
        ("migrate",),
        ("worker",),
        ("ingest",),
        ("dispatch",),
        ("sweep",),
        ("review-app",),
        ("inbox-app",),
    } <= commands
    assert "hashwarden bank sync --all" in SERVICES["bank-sync"]["entrypoint"][-1]
    lanes = {
        service["command"][2] for service in SERVICES.values() if service.get("command", [""])[0] == "worker"
    }
    assert lanes == {"image", "video"}


@pytest.mark.parametrize("name", ROLES)
def test_a_role_can_write_and_do_next_to_nothing(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["user"] == "10001:10001"
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert "privileged" not in service
    assert set(service["security_opt"]) == {"no-new-privileges:true", "seccomp=seccomp.json"}
    assert all("noexec" in mount for mount in service["tmpfs"])


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_service_has_limits(name: str) -> None:
    assert set(_limits(name)) == {"cpus", "memory", "pids"}
    assert SERVICES[name]["logging"]["options"]["max-size"]


@pytest.mark.parametrize("name", sorted(SERVERS))
def test_a_server_is_pinned_checked_and_reached_from_inside_alone(name: str) -> None:
    service = SERVICES[name]
    assert re.search(r"@sha256:[0-9a-f]{64}\}$", service["image"])
    assert service["healthcheck"]["test"]
    assert service["networks"] == ["inside"]
    assert "ports" not in service
    assert COMPOSE["networks"]["inside"]["internal"] is True


@pytest.mark.parametrize("name", LONG)
def test_a_service_has_the_time_to_end_that_the_code_takes(name: str) -> None:
    assert int(SERVICES[name]["stop_grace_period"].removesuffix("s")) > STOP_SECONDS
    # The image's own check stands.
    assert "healthcheck" not in SERVICES[name]


@pytest.mark.parametrize("name", LONG)
def test_a_service_begins_when_what_it_needs_is_there(name: str) -> None:
    waits = {other: rule["condition"] for other, rule in SERVICES[name]["depends_on"].items()}
    assert waits == {
        "migrate": "service_completed_successfully",
        "buckets": "service_completed_successfully",
        "valkey": "service_healthy",
    }


def test_the_decoders_fit_into_the_memory() -> None:
    limits = Limits()
    image, video = (SERVICES[f"worker-{lane}"]["command"] for lane in ("image", "video"))
    assert _bytes(_limits("worker-image")["memory"]) >= int(image[-1]) * limits.image_memory + _HALF_A_GIB
    assert _bytes(_limits("worker-video")["memory"]) >= int(video[-1]) * limits.video_memory + _HALF_A_GIB
    pages = _bytes(_limits("review-app")["memory"])
    assert pages >= limits.image_memory + limits.video_memory + _HALF_A_GIB


def test_only_what_calls_out_can() -> None:
    outside = {name for name in ROLES if "outside" in SERVICES[name]["networks"]}
    assert outside == {"ingest", "inbox-app", "dispatch", "review-app", "bank-sync", "tools"}
    ports = {name: SERVICES[name]["ports"] for name in SERVICES if "ports" in SERVICES[name]}
    assert ports == {"review-app": ["127.0.0.1:8765:8765"], "inbox-app": ["127.0.0.1:8766:8766"]}


def test_the_pages_have_the_role_that_rewrites_no_audit_log() -> None:
    assert {"source": "pages_database_url", "target": "database__url"} in SERVICES["review-app"]["secrets"]
    assert "database__url" not in SERVICES["review-app"]["secrets"]


def test_no_secret_stands_in_the_file_or_in_a_variable() -> None:
    for name, service in SERVICES.items():
        for variable, value in service.get("environment", {}).items():
            assert not re.search("PASSWORD|SECRET|KEY|TOKEN|URL", variable) or value.startswith(
                "/run/secrets"
            ), name
    assert all(set(secret) == {"file"} for secret in COMPOSE["secrets"].values())


def test_the_secrets_and_settings_that_it_names_are_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = tmp_path / "secrets"
    for _ in range(2):  # A second run changes nothing.
        subprocess.run([DOCKER / "secrets.sh", made], check=True)  # noqa: S603 (our own script)
        texts = {path.name: path.read_text() for path in made.iterdir()}
        password = texts["broker_password"].strip()
        assert f"requirepass {password}\n" in texts["valkey_conf"]
        assert password in texts["broker__url"]
    assert {Path(secret["file"]).name for secret in COMPOSE["secrets"].values()} <= set(texts)

    mounted = tmp_path / "run"
    monkeypatch.setenv("HASHWARDEN_CONFIG", str(DOCKER / "hashwarden.toml"))
    monkeypatch.setenv("HASHWARDEN_SECRETS", str(mounted))
    for name in ROLES:
        mounted.mkdir()
        for secret in SERVICES[name]["secrets"]:
            source, target = (
                (secret, secret) if isinstance(secret, str) else (secret["source"], secret["target"])
            )
            (mounted / target).write_text(texts[source])
        settings = load_settings()
        assert settings.database.url.get_secret_value().endswith("@postgres/hashwarden")
        assert settings.storage.buckets == ["uploads"]
        for path in mounted.iterdir():
            path.unlink()
        mounted.rmdir()
