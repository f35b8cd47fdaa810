/* The pixels that a picture is hashed from, on this device. */

const SIDE = 512;
const TILE_COLUMNS = 4096;
const TILE_ROWS = 64;
const SIDE_OF_PROOF = 16;
/* Levels of noise that change no hash by more than a few bits. */
const FAINT_NOISE = 2;

/* A picture file as a person sees it: turned as its camera noted, its first frame, on white where it is clear.
   A side over 512 is shrunk to 512 x 512 as the banks' reference does: row i is source row i * height / 512,
   columns alike, and nothing is smoothed. Gives {rgba, rows, columns}; rejects what this browser can't open. */
export async function pixelsOf(file) {
  // Platforms hash the stored levels, whatever colour space they are meant in. The default of imageOrientation is
  // "from-image"; browsers that do not know that word yet would refuse it, and do the same.
  const bitmap = await createImageBitmap(file, { colorSpaceConversion: "none" });
  try {
    return sampled(bitmap);
  } finally {
    bitmap.close();
  }
}

/* Whether this browser lets a page read the pixels that it drew. Some answer with noise or one colour, against pages
   that recognise visitors by it; a hash of that would be sent and find nothing. */
export function readsPixels() {
  const canvas = new OffscreenCanvas(SIDE_OF_PROOF, SIDE_OF_PROOF);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const level = (at, channel) => (at * (channel + 3) * 37 + 50 * channel) % 256;
  for (let at = 0; at < SIDE_OF_PROOF ** 2; at++) {
    context.fillStyle = `rgb(${level(at, 0)} ${level(at, 1)} ${level(at, 2)})`;
    context.fillRect(at % SIDE_OF_PROOF, Math.floor(at / SIDE_OF_PROOF), 1, 1);
  }
  const { data } = context.getImageData(0, 0, SIDE_OF_PROOF, SIDE_OF_PROOF);
  return data.every((value, at) => at % 4 === 3 || Math.abs(value - level(Math.floor(at / 4), at % 4)) <= FAINT_NOISE);
}

function sampled(bitmap) {
  const { width, height } = bitmap;
  const shrinks = Math.max(width, height) > SIDE;
  const columns = shrinks ? SIDE : width;
  const rows = shrinks ? SIDE : height;
  const rgba = new Uint8ClampedArray(4 * rows * columns);
  // In tiles and only the rows that count: a canvas as large as a photograph can be too large for a phone.
  const tile = new OffscreenCanvas(Math.min(width, TILE_COLUMNS), Math.min(rows, TILE_ROWS));
  const context = tile.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingEnabled = false;
  for (let top = 0; top < rows; top += TILE_ROWS) {
    const tall = Math.min(TILE_ROWS, rows - top);
    for (let left = 0; left < width; left += TILE_COLUMNS) {
      const wide = Math.min(TILE_COLUMNS, width - left);
      context.fillStyle = "white";
      context.fillRect(0, 0, tile.width, tile.height);
      for (let row = 0; row < tall; row++) {
        const from = Math.floor(((top + row) * height) / rows);
        context.drawImage(bitmap, left, from, wide, 1, 0, row, wide, 1);
      }
      const seen = new Uint32Array(context.getImageData(0, 0, wide, tall).data.buffer);
      const taken = new Uint32Array(rgba.buffer);
      for (let column = 0; column < columns; column++) {
        const from = Math.floor((column * width) / columns) - left;
        if (from < 0 || from >= wide) continue;
        for (let row = 0; row < tall; row++) taken[(top + row) * columns + column] = seen[row * wide + from];
      }
    }
  }
  return { rgba, rows, columns };
}
