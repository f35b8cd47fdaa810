/* The pixels that a picture is hashed from, on this device. */

const SIDE = 512;
const TILE_COLUMNS = 4096;
const TILE_ROWS = 64;

/* A picture file as a person sees it: turned as its camera noted, its first frame, on white where it is clear.
   A side over 512 is shrunk to 512 x 512 as the banks' reference does: row i is source row i * height / 512,
   columns alike, and nothing is smoothed. Gives {rgba, rows, columns}; rejects what this browser can't open. */
export async function pixelsOf(file) {
  const bitmap = await createImageBitmap(file, {
    imageOrientation: "from-image",
    // Platforms hash the stored levels, whatever colour space they are meant in.
    colorSpaceConversion: "none",
  });
  try {
    return sampled(bitmap);
  } finally {
    bitmap.close();
  }
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
