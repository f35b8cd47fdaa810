"""MD5 in plain JavaScript, in pieces, against hashlib."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

from playwright.sync_api import FilePayload, Page

from tests.browser.practice.hashed import made

_RFC_1321 = {
    "": "d41d8cd98f00b204e9800998ecf8427e",
    "a": "0cc175b9c0f1b6a831c399e269772661",
    "abc": "900150983cd24fb0d6963f7d28e17f72",
    "message digest": "f96b697d7cb7938d525a2f31aaf161d0",
    "abcdefghijklmnopqrstuvwxyz": "c3fcd3d76192e4007dfb496cca67e13b",
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789": "d174ab98d277d9f5a5611c2c9f419d9f",
    "1234567890" * 8: "57edf4a22be3c955ac49da2e2107b67a",
}

_DIGEST = """async pieces => {
  const { Md5 } = await import("/static/md5.js");
  const md5 = new Md5();
  for (const piece of pieces) md5.update(Uint8Array.from(piece));
  return md5.digest();
}"""

_SHARES = """async picker => {
  const worker = new Worker("/static/hashing.js", { type: "module" });
  const shares = [];
  return new Promise(resolve => {
    worker.onmessage = ({ data }) => {
      if (data.share !== undefined) shares.push(data.share);
      else resolve({ shares, value: data.hashValue });
    };
    worker.postMessage({ number: 0, file: picker.files[0] });
  });
}"""


def test_the_vectors_of_rfc_1321(visitor: Page) -> None:
    visitor.goto("/send")
    for text, digest in _RFC_1321.items():
        assert visitor.evaluate(_DIGEST, [list(text.encode())]) == digest


def test_pieces_of_any_length_make_the_same_digest(visitor: Page) -> None:
    chance = random.Random(1)  # noqa: S311 (no secret)
    visitor.goto("/send")
    for length in (*range(54, 66), 119, 120, 127, 128, 129, 1000, 4096):
        data = chance.randbytes(length)
        cuts = sorted(chance.choices(range(length + 1), k=3))
        pieces = [list(data[start:end]) for start, end in zip([0, *cuts], [*cuts, length], strict=True)]
        assert visitor.evaluate(_DIGEST, pieces) == hashlib.md5(data, usedforsecurity=False).hexdigest()


def test_a_large_video_is_read_in_pieces(visitor: Page, tmp_path: Path) -> None:
    video, md5 = tmp_path / "holiday.mp4", hashlib.md5(usedforsecurity=False)
    with video.open("wb") as file:
        for number in range(70):
            piece = random.Random(number).randbytes(1024 * 1024 + 1)  # noqa: S311 (no secret)
            md5.update(piece)
            file.write(piece)
    visitor.goto("/send")
    picker = visitor.evaluate_handle("Object.assign(document.createElement('input'), { type: 'file' })")
    element = picker.as_element()
    assert element is not None
    element.set_input_files(video)
    told = visitor.evaluate(_SHARES, picker)
    assert told["value"] == md5.hexdigest()
    assert len(told["shares"]) >= 17
    assert told["shares"] == sorted(told["shares"])
    assert told["shares"][-1] == 1


def test_a_video_is_known_by_its_type_or_its_name(visitor: Page) -> None:
    body = b"\0\0\0\x18ftypmp42" + bytes(64)
    digest = hashlib.md5(body, usedforsecurity=False).hexdigest()
    files: list[FilePayload] = [
        {"name": "a.mp4", "mimeType": "video/mp4", "buffer": body},
        {"name": "film", "mimeType": "video/quicktime", "buffer": body},
        {"name": "b.MKV", "mimeType": "", "buffer": body},
    ]
    assert [(found.signal_type, found.value) for found in made(visitor, files)] == [("VideoMD5", digest)] * 3
