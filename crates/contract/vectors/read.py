"""Implements version 1 of the mask contract from its equations.

Checks every line of mask_contract_1.txt, or of the file given as the argument.
"""
import hashlib, math, pathlib, struct, sys
from itertools import product

def philox(c, k, rounds=10):
    (c0, c1, c2, c3), (k0, k1) = c, k
    for _ in range(rounds):
        a, b = 0xD2511F53 * c0, 0xCD9E8D57 * c2
        c0, c1, c2, c3 = b >> 32 ^ c1 ^ k0, b & 0xFFFFFFFF, a >> 32 ^ c3 ^ k1, a & 0xFFFFFFFF
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return [c0, c1, c2, c3]

def draws(seed, layer, step, row, group):
    words = philox((group, row, layer, step), (seed & 0xFFFFFFFF, seed >> 32))
    return [half for word in words for half in (word & 0xFFFF, word >> 16)]

def threshold(keep):
    return math.floor(keep * 65536 + 0.5)

def mask(seed, layer, step, row, col, rows, cols, keep):
    t, out = threshold(keep), []
    for r in range(row, row + rows):
        groups = [draws(seed, layer, step, r, g) for g in range(col // 8, (col + cols + 7) // 8)]
        flat = [draw for group in groups for draw in group][col % 8 : col % 8 + cols]
        out.append([int(draw < t) for draw in flat])
    return out

def index(place, shape, axes):
    at = 0
    for axis in axes:
        at = at * shape[axis] + place[axis]
    return at

def sha(bits):
    return hashlib.sha256(bytes(bits)).hexdigest()

def check(kind, w):
    n = lambda words: [int(word, 0) for word in words]
    if kind == "philox":
        h = [int(word, 16) for word in w[1:]]
        return philox(h[:4], h[4:6], int(w[0])) == h[6:]
    if kind == "rate":
        t = threshold(float(w[0]))
        scale = struct.pack(">f", 65536 / t if t else 0).hex()
        return (t, scale) == (int(w[1]), w[2])
    if kind == "draws":
        return draws(*n(w[:5])) == [int(word, 16) for word in w[5:]]
    if kind == "mask":
        bits = sum(mask(*n(w[:7]), float(w[7])), [])
        return (sum(bits), sha(bits)) == (int(w[8]), w[9])
    if kind == "bits":
        rows = mask(*n(w[:7]), float(w[7]))
        word = lambda bits: sum(bit << i for i, bit in enumerate(bits))
        return [word(row[i : i + 32]) for row in rows for i in range(0, len(row), 32)] == [int(x, 16) for x in w[8:]]
    if kind == "broadcast":
        (seed, layer, step), t, shape = n(w[:3]), threshold(float(w[3])), n(w[4].split("x"))
        row_axes, col_axes = ([] if axes == "-" else n(axes.split(",")) for axes in w[5:7])
        at = lambda place: (index(place, shape, row_axes), index(place, shape, col_axes))
        kept = lambda row, col: int(draws(seed, layer, step, row, col // 8)[col % 8] < t)
        return sha([kept(*at(place)) for place in product(*map(range, shape))]) == w[7]
    if kind == "attention":
        (seed, layer, step, sequence, head, heads, query, key, pitch), (b, h, q, k) = n(w[:9]), n(w[9].split("x"))
        row = lambda i, j: ((sequence + i) * heads + head + j) * pitch + query
        scores = [mask(seed, layer, step, row(i, j), key, q, k, float(w[10])) for i in range(b) for j in range(h)]
        bits = sum(sum(scores, []), [])
        return (sum(bits), sha(bits)) == (int(w[11]), w[12])
    return False

path = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).with_name("mask_contract_1.txt"))
lines = [line.split() for line in path.read_text().splitlines() if line.strip() and not line.startswith("#")]
wrong = [" ".join(line) for line in lines if not check(line[0], line[1:])]
print("\n".join(f"WRONG: {line[:100]}" for line in wrong) or f"{len(lines)} lines agree")
sys.exit(bool(wrong) or not lines)
