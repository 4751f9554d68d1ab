// Implements version 1 of the mask contract from its equations.
// Checks every line of mask_contract_1.txt, or of the file given as the argument.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";

// Returns the high word of a product of two words, computed in 16-bit limbs.
function high(a, b) {
  const low = (a & 0xffff) * (b & 0xffff);
  const middle = (a >>> 16) * (b & 0xffff) + (low >>> 16);
  const cross = (a & 0xffff) * (b >>> 16) + (middle % 65536);
  return ((a >>> 16) * (b >>> 16) + Math.floor(middle / 65536) + Math.floor(cross / 65536)) >>> 0;
}
function philox([c0, c1, c2, c3], [k0, k1], rounds = 10) {
  for (let round = 0; round < rounds; round++) {
    const [a, b] = [high(0xd2511f53, c0) ^ c3 ^ k1, high(0xcd9e8d57, c2) ^ c1 ^ k0];
    [c0, c1, c2, c3] = [b >>> 0, Math.imul(0xcd9e8d57, c2) >>> 0, a >>> 0, Math.imul(0xd2511f53, c0) >>> 0];
    [k0, k1] = [(k0 + 0x9e3779b9) >>> 0, (k1 + 0xbb67ae85) >>> 0];
  }
  return [c0, c1, c2, c3];
}
const draws = (seed, layer, step, row, group) =>
  philox([group, row, layer, step], [Number(seed & 0xffffffffn), Number(seed >> 32n)]).flatMap((word) => [word & 0xffff, word >>> 16]);
const threshold = (keep) => Math.floor(keep * 65536 + 0.5);
const range = (n) => Array.from({ length: n }, (_, i) => i);
function mask(key, row, col, rows, cols, t) {
  const [first, lane] = [Math.floor(col / 8), col % 8];
  const strip = (r) => range(Math.ceil((lane + cols) / 8)).flatMap((g) => draws(...key, row + r, first + g));
  return range(rows).map((r) => strip(r).slice(lane, lane + cols).map((draw) => (draw < t ? 1 : 0)));
}
const sha = (bits) => createHash("sha256").update(Uint8Array.from(bits)).digest("hex");
const hex = (words) => words.map((word) => parseInt(word, 16));
const same = (a, b) => a.length === b.length && a.every((x, i) => x === b[i]);

function check(kind, w) {
  const key = () => [BigInt(w[0]), Number(w[1]), Number(w[2])];
  const shaped = () => mask(key(), ...w.slice(3, 7).map(Number), threshold(Number(w[7])));
  if (kind === "philox") return same(philox(hex(w.slice(1, 5)), hex(w.slice(5, 7)), Number(w[0])), hex(w.slice(7)));
  if (kind === "draws") return same(draws(...key(), Number(w[3]), Number(w[4])), hex(w.slice(5)));
  if (kind === "mask") {
    const bits = shaped().flat();
    return same([String(bits.reduce((a, b) => a + b, 0)), sha(bits)], w.slice(8));
  }
  if (kind === "rate") {
    const [t, scale] = [threshold(Number(w[0])), Buffer.alloc(4)];
    scale.writeFloatBE(t ? 65536 / t : 0);
    return same([String(t), scale.toString("hex")], w.slice(1));
  }
  if (kind === "bits") {
    const word = (row, i) => row.slice(32 * i, 32 * i + 32).reduce((sum, bit, j) => sum + bit * 2 ** j, 0);
    return same(shaped().flatMap((row) => range(Math.ceil(row.length / 32)).map((i) => word(row, i))), hex(w.slice(8)));
  }
  if (kind === "attention") {
    const [sequence, head, heads, query, first, pitch] = w.slice(3, 9).map(Number);
    const [b, h, q, k] = w[9].split("x").map(Number);
    const row = (i) => ((sequence + Math.floor(i / h)) * heads + head + (i % h)) * pitch + query;
    const bits = range(b * h).flatMap((i) => mask(key(), row(i), first, q, k, threshold(Number(w[10]))).flat());
    return same([String(bits.reduce((a, b) => a + b, 0)), sha(bits)], w.slice(11));
  }
  const shape = w[4].split("x").map(Number);
  const axes = (list) => (list === "-" ? [] : list.split(",").map(Number));
  const place = (i) => shape.map((_, axis) => Math.floor(i / shape.slice(axis + 1).reduce((a, b) => a * b, 1)) % shape[axis]);
  const index = (at, axes) => axes.reduce((sum, axis) => sum * shape[axis] + at[axis], 0);
  const at = (i) => [index(place(i), axes(w[5])), index(place(i), axes(w[6]))];
  const size = shape.reduce((a, b) => a * b, 1);
  return kind === "broadcast" && sha(range(size).flatMap((i) => mask(key(), ...at(i), 1, 1, threshold(Number(w[3])))[0])) === w[7];
}
const text = readFileSync(process.argv[2] ?? new URL("mask_contract_1.txt", import.meta.url), "utf8");
const lines = text.split("\n").filter((line) => line.trim() && !line.startsWith("#")).map((line) => line.split(/\s+/));
const wrong = lines.filter(([kind, ...words]) => !check(kind, words));
console.log(wrong.map((line) => `WRONG: ${line.join(" ").slice(0, 100)}`).join("\n") || `${lines.length} lines agree`);
process.exit(wrong.length || !lines.length ? 1 : 0);
