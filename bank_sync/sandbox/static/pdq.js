/* PDQ of a picture's luma, step by step and in the 32-bit floats of the banks' reference implementation
   (facebook/ThreatExchange, pdq/cpp), so that the same pixels give the same bits. */

const SIDE = 64;
const WAVES = 16;
const SMALLEST = 5;
const PASSES = 2;

const float = Math.fround;

/* WAVES x SIDE: the slots 1 to 16 of a cosine transform of 64 values. */
const COSINES = new Float32Array(WAVES * SIDE);
for (let wave = 0; wave < WAVES; wave++) {
  for (let at = 0; at < SIDE; at++) {
    COSINES[wave * SIDE + at] =
      float(Math.sqrt(2 / SIDE)) * Math.cos((Math.PI / 2 / SIDE) * (wave + 1) * (2 * at + 1));
  }
}

/* The hash as 64 hexadecimal digits, and the quality from 0 to 100.
   `rgba`: rows x columns x 4 bytes, opaque; at most 512 x 512, as `picture.js` gives it. */
export function pdq(rgba, rows, columns) {
  if (rows < SMALLEST || columns < SMALLEST) return { hash: "0".repeat(64), quality: 0 };
  const small = shrink(lumaOf(rgba), rows, columns);
  return { hash: digits(waves(small)), quality: qualityOf(small) };
}

function lumaOf(rgba) {
  const luma = new Float32Array(rgba.length / 4);
  for (let at = 0; at < luma.length; at++) {
    luma[at] = rgba[4 * at] * 0.299 + rgba[4 * at + 1] * 0.587 + rgba[4 * at + 2] * 0.114;
  }
  return luma;
}

/* 64 x 64: blurred by box filters along both axes, twice, then sampled at the middle of each block. */
function shrink(luma, rows, columns) {
  let blurred = luma;
  if (rows !== SIDE || columns !== SIDE) {
    blurred = Float32Array.from(luma);
    const between = new Float32Array(luma.length);
    for (let pass = 0; pass < PASSES; pass++) {
      for (let row = 0; row < rows; row++) box(blurred, between, row * columns, columns, 1, windowOf(columns));
      for (let column = 0; column < columns; column++) box(between, blurred, column, rows, columns, windowOf(rows));
    }
  }
  const small = new Float32Array(SIDE * SIDE);
  for (let row = 0; row < SIDE; row++) {
    const from = Math.floor(((row + 0.5) * rows) / SIDE) * columns;
    for (let column = 0; column < SIDE; column++) {
      small[row * SIDE + column] = blurred[from + Math.floor(((column + 0.5) * columns) / SIDE)];
    }
  }
  return small;
}

function windowOf(length) {
  return Math.floor((length + 2 * SIDE - 1) / (2 * SIDE));
}

/* The mean of `window` values around each of `length` values, fewer at the ends. */
function box(from, to, start, length, stride, window) {
  const half = Math.floor((window + 2) / 2);
  let sum = 0;
  let size = 0;
  let left = start;
  let right = start;
  let at = start;
  for (let step = 0; step < half - 1; step++, right += stride) {
    sum = float(sum + from[right]);
    size++;
  }
  for (let step = 0; step < window - half + 1; step++, right += stride, at += stride) {
    sum = float(sum + from[right]);
    size++;
    to[at] = sum / size;
  }
  for (let step = 0; step < length - window; step++, left += stride, right += stride, at += stride) {
    sum = float(sum + from[right]);
    sum = float(sum - from[left]);
    to[at] = sum / size;
  }
  for (let step = 0; step < half - 1; step++, left += stride, at += stride) {
    sum = float(sum - from[left]);
    size--;
    to[at] = sum / size;
  }
}

/* How much there is to see: the sum of the steps between neighbours. */
function qualityOf(small) {
  let sum = 0;
  const step = (one, other) => Math.abs(Math.trunc(float(float(float(one - other) * 100) / 255)));
  for (let row = 0; row < SIDE; row++) {
    for (let column = 0; column < SIDE; column++) {
      const at = row * SIDE + column;
      if (row + 1 < SIDE) sum += step(small[at], small[at + SIDE]);
      if (column + 1 < SIDE) sum += step(small[at], small[at + 1]);
    }
  }
  return Math.min(100, Math.floor(sum / 90));
}

/* WAVES x WAVES: the slow waves of the picture along both axes, without the mean. */
function waves(small) {
  const half = new Float32Array(WAVES * SIDE);
  for (let wave = 0; wave < WAVES; wave++) {
    for (let column = 0; column < SIDE; column++) {
      let sum = 0;
      for (let at = 0; at < SIDE; at++) {
        sum = float(sum + float(COSINES[wave * SIDE + at] * small[at * SIDE + column]));
      }
      half[wave * SIDE + column] = sum;
    }
  }
  const whole = new Float32Array(WAVES * WAVES);
  for (let row = 0; row < WAVES; row++) {
    for (let column = 0; column < WAVES; column++) {
      let sum = 0;
      for (let at = 0; at < SIDE; at++) {
        sum = float(sum + float(half[row * SIDE + at] * COSINES[column * SIDE + at]));
      }
      whole[row * WAVES + column] = sum;
    }
  }
  return whole;
}

/* One bit a wave, set where it is over the median; the last wave is the first bit. */
function digits(whole) {
  const median = Float32Array.from(whole).sort()[whole.length / 2 - 1];
  let text = "";
  for (let at = whole.length - 4; at >= 0; at -= 4) {
    let digit = 0;
    for (let bit = 3; bit >= 0; bit--) digit = 2 * digit + (whole[at + bit] > median ? 1 : 0);
    text += digit.toString(16);
  }
  return text;
}
