/* MD5 (RFC 1321) of what comes in pieces. It names a file to a bank; it keeps no secret. */

const BLOCK = 64;

const SINES = Int32Array.from({ length: BLOCK }, (_, step) => Math.floor(Math.abs(Math.sin(step + 1)) * 2 ** 32));

/* One step: `sum` turned left by `shift` bits, on top of `b`. */
const turned = (sum, shift, b) => (((sum << shift) | (sum >>> (32 - shift))) + b) | 0;

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
      for (let at = 0; at < 16; at += 4) {
        a = turned(a + ((b & c) | (~b & d)) + SINES[at] + words[at], 7, b);
        d = turned(d + ((a & b) | (~a & c)) + SINES[at + 1] + words[at + 1], 12, a);
        c = turned(c + ((d & a) | (~d & b)) + SINES[at + 2] + words[at + 2], 17, d);
        b = turned(b + ((c & d) | (~c & a)) + SINES[at + 3] + words[at + 3], 22, c);
      }
      for (let at = 16; at < 32; at += 4) {
        a = turned(a + ((d & b) | (~d & c)) + SINES[at] + words[(5 * at + 1) & 15], 5, b);
        d = turned(d + ((c & a) | (~c & b)) + SINES[at + 1] + words[(5 * (at + 1) + 1) & 15], 9, a);
        c = turned(c + ((b & d) | (~b & a)) + SINES[at + 2] + words[(5 * (at + 2) + 1) & 15], 14, d);
        b = turned(b + ((a & c) | (~a & d)) + SINES[at + 3] + words[(5 * (at + 3) + 1) & 15], 20, c);
      }
      for (let at = 32; at < 48; at += 4) {
        a = turned(a + (b ^ c ^ d) + SINES[at] + words[(3 * at + 5) & 15], 4, b);
        d = turned(d + (a ^ b ^ c) + SINES[at + 1] + words[(3 * (at + 1) + 5) & 15], 11, a);
        c = turned(c + (d ^ a ^ b) + SINES[at + 2] + words[(3 * (at + 2) + 5) & 15], 16, d);
        b = turned(b + (c ^ d ^ a) + SINES[at + 3] + words[(3 * (at + 3) + 5) & 15], 23, c);
      }
      for (let at = 48; at < 64; at += 4) {
        a = turned(a + (c ^ (b | ~d)) + SINES[at] + words[(7 * at) & 15], 6, b);
        d = turned(d + (b ^ (a | ~c)) + SINES[at + 1] + words[(7 * (at + 1)) & 15], 10, a);
        c = turned(c + (a ^ (d | ~b)) + SINES[at + 2] + words[(7 * (at + 2)) & 15], 15, d);
        b = turned(b + (d ^ (c | ~a)) + SINES[at + 3] + words[(7 * (at + 3)) & 15], 21, c);
      }
      a = (a + a0) | 0;
      b = (b + b0) | 0;
      c = (c + c0) | 0;
      d = (d + d0) | 0;
    }
    this.#state.set([a, b, c, d]);
  }
}
