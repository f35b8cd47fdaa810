"""What an index takes of a worker's own memory, asked in a fresh process: `python -m worker.bench.private_memory`.

Prints the bytes that no other process shares, after the index was opened and searched, less those before.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

from bank_sync.index.protocol import HASH_BYTES
from worker.bench.subjects import SUBJECTS

_PAGE = 4096


def private_bytes() -> int:
    """Bytes of this process that no other shares."""
    lines = Path("/proc/self/smaps_rollup").read_text(encoding="ascii").splitlines()
    return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))


def measure(subject: str, folder: Path, queries: Path, radius: int) -> int:
    """The same, measured in a process of its own.

    The pages of a mapped file count as private where no other process has them mapped, so this one maps and reads them
    all the while: they are shared as between two workers.
    """
    held = [np.memmap(path, dtype=np.uint8, mode="r") for path in folder.iterdir()]
    for pages in held:
        pages[::_PAGE].sum()
    told = subprocess.run(  # noqa: S603 (our own module and files)
        [
            sys.executable,
            "-m",
            "worker.bench.private_memory",
            subject,
            str(folder),
            str(queries),
            str(radius),
        ],
        check=True,
        capture_output=True,
        text=True,
    )
    return int(told.stdout)


def main(subject: str, folder: str, queries: str, radius: str) -> None:
    asked = np.fromfile(queries, dtype=np.uint8).reshape(-1, HASH_BYTES)
    # The code of every index and its libraries is there before, as it is in a worker.
    np.bitwise_count(asked)
    before = private_bytes()
    index = SUBJECTS[subject].open(Path(folder))
    for query in asked:
        index.search(query[None], int(radius))
    sys.stdout.write(f"{private_bytes() - before}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
