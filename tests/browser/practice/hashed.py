"""Hashes of files as the practice bank's worker makes them, and what the reference makes of the same files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pdqhash
from PIL import Image, ImageOps
from playwright.sync_api import FilePayload, Page

from worker.media.pdq import distance, nearest_512

_WORKER = """async files => {
  const worker = new Worker("/static/hashing.js", { type: "module" });
  const told = await new Promise((resolve, reject) => {
    const done = [];
    worker.onerror = reject;
    worker.onmessage = ({ data }) => {
      if (data.share === undefined) done.push(data);
      if (done.length === files.files.length) resolve(done);
    };
    [...files.files].forEach((file, number) => worker.postMessage({ number, file }));
  });
  worker.terminate();
  return told;
}"""


@dataclass(frozen=True, slots=True)
class Made:
    """What the worker answered of one file."""

    signal_type: str = ""
    value: str = ""
    quality: int | None = None
    refused: str = ""


def made(page: Page, files: Sequence[Path] | Sequence[FilePayload]) -> list[Made]:
    """Opens the page that hashes, and has its worker hash these files, in their order."""
    page.goto("/send")
    picker = page.evaluate_handle(
        "Object.assign(document.createElement('input'), { type: 'file', multiple: true })"
    ).as_element()
    assert picker is not None
    picker.set_input_files(files)
    return [
        Made(
            told.get("signalType", ""),
            told.get("hashValue", ""),
            told.get("quality"),
            told.get("refused", ""),
        )
        for told in page.evaluate(_WORKER, picker)
    ]


def reference(picture: Image.Image) -> tuple[bytes, int]:
    """Hash and quality by `pdqhash` along the path of the banks' reference: shrunk to 512 x 512, as seen, on white."""
    seen = ImageOps.exif_transpose(picture)
    if seen.has_transparency_data:
        clear = seen.convert("RGBA")
        seen = Image.alpha_composite(Image.new("RGBA", clear.size, "white"), clear)
    vector, quality = pdqhash.compute(np.asarray(nearest_512(seen.convert("RGB"))))
    return np.packbits(np.asarray(vector, dtype=np.uint8)).tobytes(), int(quality)


def apart(found: Made, wanted: bytes) -> int:
    """Bits between what the worker made and a reference."""
    return distance(bytes.fromhex(found.value), wanted)
