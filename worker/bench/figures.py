"""What a benchmark found, in the form that `bench ... --json` prints."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

HASHWARDEN = "hashwarden"
THREATEXCHANGE = "threatexchange"


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value of one subject."""

    subject: str
    metric: str
    value: float
    unit: str
    params: Mapping[str, Any] = field(default_factory=dict)


def report(benchmark: str, figures: Sequence[Figure]) -> dict[str, Any]:
    """The object that is printed: benchmark, machine and figures."""
    machine = {
        "cores": os.cpu_count(),
        "processor": platform.machine(),
        "python": platform.python_version(),
        "system": platform.system(),
    }
    return {"benchmark": benchmark, "machine": machine, "figures": [asdict(figure) for figure in figures]}
