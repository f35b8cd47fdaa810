"""python-threatexchange's hash of a picture: the package's own where it is installed, else the same steps.

Its requirements include packages that do not build everywhere; `pip install --no-deps threatexchange` is enough here.
"""

from __future__ import annotations

import io
from functools import lru_cache
from importlib import import_module
from importlib.metadata import version
from typing import Any

import numpy as np
import pdqhash
from PIL import Image


@lru_cache(maxsize=1)
def _package() -> Any:  # noqa: ANN401 (the package has no types)
    try:
        return import_module("threatexchange.signal_type.pdq.pdq_hasher")
    except ImportError:
        return None


def implementation() -> str:
    """What stands for the peer in this run."""
    return f"threatexchange {version('threatexchange')}" if _package() else "the steps of its pdq_hasher.py"


def peer_hash(body: bytes) -> bytes:
    """The 32 bytes of a picture file: decoded at full size, without any shrinking before PDQ."""
    package = _package()
    if package is not None:
        return bytes.fromhex(package.pdq_from_bytes(body)[0])
    with Image.open(io.BytesIO(body)) as picture:
        vector, _ = pdqhash.compute(np.asarray(picture))
    return np.packbits(vector).tobytes()
