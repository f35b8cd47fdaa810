/* The worker that reads a person's files. Its page lets it load the scripts beside it and nothing else: who sees the
   picture has no way to send anything. Takes {number, file}, or {number} of a file that was removed. Answers
   {number, share} on the way of a video, then {number, signalType, hashValue, quality} or {number, refused}:
   "unreadable", "faint" or "masked". */

import { Md5 } from "./md5.js";
import { pdq } from "./pdq.js";
import { pixelsOf, readsPixels } from "./picture.js";

const PIECE = 4 * 1024 * 1024;
const LEAST_QUALITY = 50;
const VIDEO_ENDINGS = /\.(3gp|avi|flv|m2ts|m4v|mkv|mov|mp4|mpe?g|mts|ogv|ts|webm|wmv)$/i;

const removed = new Set();
let before = Promise.resolve();

addEventListener("message", ({ data: { number, file } }) => {
  if (!file) {
    removed.add(number);
    return;
  }
  // One after another: two photographs in memory are enough for a phone.
  before = before.then(async () => postMessage({ number, ...(await hashed(file, number)) }));
});

async function hashed(file, number) {
  try {
    return isVideo(file) ? await ofVideo(file, number) : await ofPicture(file);
  } catch {
    return { refused: "unreadable" };
  }
}

function isVideo(file) {
  return file.type.startsWith("video/") || (!file.type.startsWith("image/") && VIDEO_ENDINGS.test(file.name));
}

async function ofPicture(file) {
  if (!readsPixels()) return { refused: "masked" };
  const { rgba, rows, columns } = await pixelsOf(file);
  const { hash, quality } = pdq(rgba, rows, columns);
  // Platforms discard such a hash: too many unlike pictures would share it.
  if (quality < LEAST_QUALITY) return { refused: "faint", quality };
  return { signalType: "ImagePDQ", hashValue: hash, quality };
}

async function ofVideo(file, number) {
  const md5 = new Md5();
  for (let from = 0; from < file.size && !removed.has(number); from += PIECE) {
    md5.update(new Uint8Array(await file.slice(from, from + PIECE).arrayBuffer()));
    postMessage({ number, share: Math.min(1, (from + PIECE) / file.size) });
  }
  return { signalType: "VideoMD5", hashValue: md5.digest(), quality: null };
}
