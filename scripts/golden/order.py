"""Makes tests/golden/order.json: positions in the order of training sequences, by counting instead of arithmetic.

    python order.py > tests/golden/order.json

It follows the description at the head of worker/src/data/order/mod.rs and shares no code with it: whole epochs are laid
out as lists. Needs Python 3.9 or later and nothing else.
"""

import json

MASK = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15
BANDS, EXTENT_BYTES, EXTENT_BLOCKS, SMALL_BYTES, PATTERN = 64, 16 << 20, 16, 64 << 20, 4096


def mix(x):
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


def derive(key, number):
    return mix((mix((key + GOLDEN) & MASK) + number + GOLDEN) & MASK)


def permutation(key, count):
    """The list p with p[i] = where i goes."""
    half = max(1, -(-(count - 1).bit_length() // 2))

    def once(value):
        left, right = value >> half, value & ((1 << half) - 1)
        for round_number in range(1, 9):
            noise = mix(mix((key + round_number * GOLDEN) & MASK) ^ right) >> (64 - half)
            left, right = right, left ^ noise
        return left << half | right

    result = []
    for value in range(count):
        value = once(value)
        while value >= count:
            value = once(value)
        result.append(value)
    return result


def line(key, sequences, extent):
    """The sequences of an epoch in the order of its extents."""
    extents = -(-sequences // extent)
    order = permutation(key, extents)
    return [p for e in order for p in range(e * extent, min((e + 1) * extent, sequences))]


def pattern(weights, length):
    had, result = [0.0] * len(weights), []
    for turn in range(1, length + 1):
        behind = [w / sum(weights) * turn - h for w, h in zip(weights, had)]
        chosen = behind.index(max(behind))
        had[chosen] += 1
        result.append(chosen)
    return result


def places(seed, sets, batch, count):
    """(set, position) of the first `count` training sequences; sets are (sequences, bytes of one, weight)."""
    rows = 1 if len(sets) == 1 else -(-PATTERN // batch)
    turns = pattern([weight for _, _, weight in sets], rows * batch)
    # Enough whole epochs of every set, as lists of the numbers of their sequences.
    upto = count
    for i, (sequences, _, _) in enumerate(sets):
        while True:
            members = [n for n in range(upto) if turns[n % len(turns)] == i]
            wanted = sum(1 for n in members if n < count)
            if len(members) >= -(-wanted // sequences) * sequences:
                break
            upto *= 2
    result = {}
    for i, (sequences, sequence_bytes, _) in enumerate(sets):
        members = [n for n in range(upto) if turns[n % len(turns)] == i]
        window = -(-EXTENT_BYTES // sequence_bytes)
        extent = 1 if sequences * sequence_bytes <= SMALL_BYTES else window
        for epoch in range(len(members) // sequences):
            of_epoch = members[epoch * sequences : (epoch + 1) * sequences]
            key = derive(derive(seed, i), epoch)
            on_line = line(key, sequences, extent)
            at = 0
            for band in range(BANDS):
                low, high = band * batch // BANDS, (band + 1) * batch // BANDS
                of_band = [n for n in of_epoch if low <= n % batch < high]
                piece = on_line[at : at + len(of_band)]
                at += len(of_band)
                block = -(-window // EXTENT_BLOCKS)
                lengths = [max(1, block * (band + 1) // BANDS), block, 2 * block, 4 * block, 8 * block]
                start, number = 0, 0
                while start < len(piece):
                    end = start + (lengths[number] if number < len(lengths) else window)
                    part = piece[start:end]
                    shuffle = permutation(derive(derive(key, band + 1), number), len(part))
                    for j, n in enumerate(of_band[start:end]):
                        result[n] = (i, part[shuffle[j]])
                    start, number = end, number + 1
    return [result[n] for n in range(count)]


def main():
    cases = [
        (1337, [(10, 2048, 1.0)], 4, 40),
        (0, [(1001, 131072, 1.0)], 100, 2100),
        (2**64 - 1, [(300, 1 << 20, 1.0), (50, 2048, 0.25)], 96, 1500),
    ]
    golden = []
    for seed, sets, batch, count in cases:
        found = places(seed, sets, batch, count)
        picked = sorted(set(range(0, count, max(1, count // 60))) | set(range(12)))
        golden.append(
            {
                "seed": seed,
                "sets": [{"sequences": s, "sequence_bytes": b, "weight": w} for s, b, w in sets],
                "global_sequences": batch,
                "places": [[n, *found[n]] for n in picked],
            }
        )
    print(json.dumps(golden, separators=(",", ":")))


if __name__ == "__main__":
    main()
