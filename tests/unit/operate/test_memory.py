"""What decoders may take at once, beside what the host or its container has."""

from __future__ import annotations

from pathlib import Path

import pytest

from worker.operate import memory
from worker.operate.check import Status
from worker.operate.doctor import memory_check


def test_enough_memory_is_ok() -> None:
    assert memory_check(64 * memory.GIB, 4).status is Status.OK


def test_too_little_memory_names_the_concurrency_that_fits() -> None:
    check = memory_check(4 * memory.GIB, 8)
    assert check.status is Status.WARN
    assert "--concurrency 1`" in check.next_step
    assert memory.decoder_memory(1) <= 4 * memory.GIB < memory.decoder_memory(2)


def test_less_than_one_decoder_of_each_kind_says_how_much_is_needed() -> None:
    assert "3.5 GiB" in memory_check(memory.GIB, 2).next_step


@pytest.mark.parametrize("name", ["memory.max", "memory/memory.limit_in_bytes"])
def test_the_container_limit_counts(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    host = memory.allowed_memory()
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(f"{memory.GIB // 4}\n")
    assert memory.allowed_memory() == memory.GIB // 4 < host
    (tmp_path / name).write_text("max\n")
    assert memory.allowed_memory() == host
