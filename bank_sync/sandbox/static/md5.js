/* MD5 (RFC 1321) of what comes in pieces. It names a file to a bank; it keeps no secret. */

const BLOCK = 64;

const SHIFTS = [
  [7, 12, 17, 22],
  [5, 9, 14, 20],
  [4, 11, 16, 23],
  [6, 10, 15, 21],
];
const SINES = Int32Array.from({ length: BLOCK }, (_, step) => Math.floor(Math.abs(Math.sin(step + 1)) * 2 ** 32));

export class Md5 {
  #state = Int32Array.of(0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476);
  #rest = new Uint8Array(BLOCK);
  #held = 0;
  #length = 0;

  /* Takes the next bytes, a Uint8Array of any length. */
  update(bytes) {
    this.#length += bytes.length;
    let at = 0;
    if (this.#held) {
      at = Math.min(BLOCK - this.#held, bytes.length);
      this.#rest.set(bytes.subarray(0, at), this.#held);
      this.#held += at;
      if (this.#held < BLOCK) return;
      this.#mix(new DataView(this.#rest.buffer), 0, 1);
      this.#held = 0;
    }
    const blocks = Math.floor((bytes.length - at) / BLOCK);
    this.#mix(new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), at, blocks);
    at += blocks * BLOCK;
    this.#rest.set(bytes.subarray(at));
    this.#held = bytes.length - at;
  }

  /* The digest of all bytes so far as 32 hexadecimal digits; nothing can be added after it. */
  digest() {
    const bits = BigInt(this.#length) * 8n;
    const padding = new Uint8Array((this.#held < 56 ? 56 : 120) - this.#held + 8);
    padding[0] = 0x80;
    new DataView(padding.buffer).setBigUint64(padding.length - 8, bits, true);
    this.update(padding);
    const out = new DataView(new ArrayBuffer(16));
    this.#state.forEach((word, at) => out.setInt32(4 * at, word, true));
    return Array.from(new Uint8Array(out.buffer), (byte) => byte.toString(16).padStart(2, "0")).join("");
  }

  #mix(view, start, blocks) {
    const words = new Int32Array(16);
    let [a, b, c, d] = this.#state;
    for (let block = 0; block < blocks; block++) {
      const from = start + block * BLOCK;
      for (let word = 0; word < 16; word++) words[word] = view.getInt32(from + 4 * word, true);
      const [a0, b0, c0, d0] = [a, b, c, d];
      for (let step = 0; step < BLOCK; step++) {
        const round = step >> 4;
        let mixed;
        let word;
        if (round === 0) {
          mixed = (b & c) | (~b & d);
          word = step;
        } else if (round === 1) {
          mixed = (d & b) | (~d & c);
          word = (5 * step + 1) & 15;
        } else if (round === 2) {
          mixed = b ^ c ^ d;
          word = (3 * step + 5) & 15;
        } else {
          mixed = c ^ (b | ~d);
          word = (7 * step) & 15;
        }
        const sum = (a + mixed + SINES[step] + words[word]) | 0;
        const shift = SHIFTS[round][step & 3];
        a = d;
        d = c;
        c = b;
        b = (b + ((sum << shift) | (sum >>> (32 - shift)))) | 0;
      }
      a = (a + a0) | 0;
      b = (b + b0) | 0;
      c = (c + c0) | 0;
      d = (d + d0) | 0;
    }
    this.#state.set([a, b, c, d]);
  }
}
