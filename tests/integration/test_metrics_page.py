"""docs/reference/metrics.md lists what `/metrics` of a whole deployment says, with the same words."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client.parser import text_string_to_metric_families

from bank_sync.epoch import Pointer
from worker.media.isolation import Wall
from worker.operate.alarms.alarm import AlarmCode
from worker.operate.metrics import Metrics

if TYPE_CHECKING:
    from tests.integration.conftest import Rig

PAGE = (Path(__file__).parents[2] / "docs/reference/metrics.md").read_text(encoding="utf-8")


def test_every_metric_is_on_the_page_with_its_help_and_labels(rig: Rig, versioned_bucket: str) -> None:
    rig.bank_pdq(b"\x01" * 32)
    rig.scan(versioned_bucket, "broken.jpg", b"\xff\xd8\xff no picture")
    rig.put(versioned_bucket, "waits.jpg", b"")
    listed = rig.settings.events.model_copy(update={"redis_url": rig.settings.broker.url})
    metrics = Metrics(
        rig.settings.model_copy(update={"events": listed}),
        rig.sessions,
        lambda: Pointer(1, "0" * 64, datetime.now(UTC), "1:1:"),
        walls=lambda: Wall.NONE,
    )
    told = {family.name: family for family in text_string_to_metric_families(metrics.text().decode())}
    rows = re.findall(r"^\| `(hashwarden_\w+)` \| (.*?) ?\| (.+) \|$", PAGE, re.MULTILINE)
    assert {name: text for name, _, text in rows} == {
        name: family.documentation for name, family in told.items()
    }
    for name, labels, _ in rows:
        for sample in told[name].samples:
            assert set(sample.labels) == set(re.findall(r"`(\w+)`", labels)), name


def test_every_alarm_is_on_the_page() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", PAGE.partition("## Alarms")[2], re.MULTILINE)
    assert sorted(rows) == sorted(AlarmCode)
