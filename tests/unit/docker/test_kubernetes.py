"""docker/kubernetes: valid objects of every role, shut in, limited, and with settings and secrets that there are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from config.settings import load_settings
from worker.media.limits import Limits
from worker.operate.memory import GIB
from worker.operate.supervise import STOP_SECONDS

FOLDER = Path(__file__).parents[3] / "docker/kubernetes"
OBJECTS: list[dict[str, Any]] = [
    made
    for path in sorted(FOLDER.glob("*.yaml"))
    if path.name != "kustomization.yaml"
    for made in yaml.safe_load_all(path.read_text(encoding="utf-8"))
]
_HALF_A_GIB = GIB // 2


def _pod(made: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = made["spec"]
    template = spec["jobTemplate"]["spec"]["template"] if made["kind"] == "CronJob" else spec["template"]
    pod: dict[str, Any] = template["spec"]
    return pod


PODS = {
    made["metadata"]["name"]: _pod(made)
    for made in OBJECTS
    if made["kind"] in {"Deployment", "Job", "CronJob"}
}
LONG = {made["metadata"]["name"] for made in OBJECTS if made["kind"] == "Deployment"}


@pytest.mark.parametrize("made", OBJECTS, ids=lambda made: f"{made['kind']}-{made['metadata']['name']}")
@pytest.mark.parametrize("version", ["1.29", "1.34"])
def test_kubernetes_takes_it(made: dict[str, Any], version: str) -> None:
    kubernetes_validate.validate(made, version, strict=True)


def test_every_role_is_there() -> None:
    commands = {tuple(pod["containers"][0]["args"][:3]) for pod in PODS.values()}
    assert commands == {
        ("worker", "--lane", "image"),
        ("worker", "--lane", "video"),
        ("ingest",),
        ("inbox-app",),
        ("dispatch",),
        ("sweep",),
        ("review-app",),
        ("migrate",),
        ("bank", "sync", "--all"),
    }
    kustomization = yaml.safe_load((FOLDER / "kustomization.yaml").read_text(encoding="utf-8"))
    files = {path.name for path in FOLDER.glob("*.yaml")} - {"kustomization.yaml", "migrate.yaml"}
    assert set(kustomization["resources"]) == files


@pytest.mark.parametrize("name", sorted(PODS))
def test_a_pod_can_write_and_do_next_to_nothing(name: str) -> None:
    pod = PODS[name]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsUser"] == 10001
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {
        "type": "Localhost",
        "localhostProfile": "hashwarden.json",
    }
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["automountServiceAccountToken"] is False
    assert set(container["resources"]) == {"requests", "limits"}
    accounts = {made["metadata"]["name"] for made in OBJECTS if made["kind"] == "ServiceAccount"}
    assert pod["serviceAccountName"] in accounts
    assert {mount["name"] for mount in container["volumeMounts"]} == {
        volume["name"] for volume in pod["volumes"]
    }


@pytest.mark.parametrize("name", sorted(LONG))
def test_a_service_is_asked_whether_it_turns_and_has_the_time_to_end(name: str) -> None:
    pod = PODS[name]
    (container,) = pod["containers"]
    assert pod["terminationGracePeriodSeconds"] > STOP_SECONDS
    probe = container["livenessProbe"]
    if name in {"review-app", "inbox-app"}:
        assert probe["httpGet"]["path"] == "/health/live"
        assert container["readinessProbe"]["httpGet"]["path"] == "/health/ready"
    else:
        assert probe["exec"]["command"] == ["hashwarden", "alive"]


def test_the_decoders_fit_into_the_memory() -> None:
    limits = Limits()

    def memory(name: str) -> int:
        return int(PODS[name]["containers"][0]["resources"]["limits"]["memory"].removesuffix("Gi")) * GIB

    image, video = (int(PODS[f"worker-{lane}"]["containers"][0]["args"][-1]) for lane in ("image", "video"))
    assert memory("worker-image") >= image * limits.image_memory + _HALF_A_GIB
    assert memory("worker-video") >= video * limits.video_memory + _HALF_A_GIB
    assert memory("review-app") >= limits.image_memory + limits.video_memory + _HALF_A_GIB


def test_settings_and_secrets_are_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HASHWARDEN_CONFIG", str(FOLDER / "hashwarden.toml"))
    monkeypatch.setenv("HASHWARDEN_SECRETS", str(tmp_path))
    keys = {
        item["path"]
        for pod in PODS.values()
        for volume in pod["volumes"]
        for item in volume.get("secret", {}).get("items", [])
    }
    assert {"database__url", "webhook__secret", "banks__stopncii__fetch_key"} <= keys
    for key in keys:
        tokens = key.startswith("inbox__")
        text = (
            "postgresql+psycopg://a@b/c"
            if key == "database__url"
            else '["' + "x" * 32 + '"]'
            if tokens
            else "secret"
        )
        (tmp_path / key).write_text(text)
    settings = load_settings()
    assert settings.banks["stopncii"].fetch_key is not None
    assert settings.index.publish_to


def test_a_secret_reaches_only_who_needs_it() -> None:
    def keys(name: str) -> set[str]:
        (volume,) = [volume for volume in PODS[name]["volumes"] if volume["name"] == "secrets"]
        return {item["path"] for item in volume["secret"].get("items", [])}

    shared = {"database__url", "broker__url"}
    bank = "banks__stopncii__"
    assert keys("dispatch") == shared | {"webhook__secret", f"{bank}subscription_key", f"{bank}feedback_key"}
    assert keys("bank-sync") == shared | {f"{bank}subscription_key", f"{bank}fetch_key"}
    for name in ("worker-image", "worker-video", "ingest", "sweep", "migrate"):
        assert keys(name) == shared
    assert keys("inbox-app") == shared | {"inbox__platform_tokens", "inbox__store_tokens"}
    # The pages have a login of their own: docs/how-to/database-roles.md.
    pages = next(volume for volume in PODS["review-app"]["volumes"] if volume["name"] == "secrets")
    assert pages["secret"]["secretName"] == "hashwarden-pages"
