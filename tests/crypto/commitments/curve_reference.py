"""BLS12-381 G1 in plain Python, affine and slow, to check both libraries against."""

P = 0x1A0111EA397FE69A4B1BA7B6434BACD764774B84F38512BF6730D2A0F6B0F6241EABFFFEB153FFFFB9FEFFFFFFFFAAAB
Q = 0x73EDA753299D7D483339D80809A1D80553BDA402FFFE5BFEFFFFFFFF00000001


def add(a, b):
    """None is the neutral point."""
    if a is None or b is None:
        return a or b
    if a[0] == b[0]:
        if (a[1] + b[1]) % P == 0:
            return None
        slope = 3 * a[0] * a[0] * pow(2 * a[1], -1, P) % P
    else:
        slope = (b[1] - a[1]) * pow(b[0] - a[0], -1, P) % P
    x = (slope * slope - a[0] - b[0]) % P
    return x, (slope * (a[0] - x) - a[1]) % P


def multiply(point, scalar):
    total = None
    for bit in bin(scalar)[2:]:
        total = add(total, total)
        if bit == "1":
            total = add(total, point)
    return total


def from_limbs(row):
    """A point of `crypto.commitments.curve.Points`."""
    unradix = pow(1 << 384, -1, P)
    x, y = (sum(int(limb) << (64 * i) for i, limb in enumerate(half)) for half in (row[:6], row[6:]))
    return x * unradix % P, y * unradix % P


def root(x):
    """A y with y^2 = x^3 + 4, or None."""
    square = (x**3 + 4) % P
    y = pow(square, (P + 1) // 4, P)
    return y if y * y % P == square else None


def compress(point):
    """The ZCash encoding: flags compressed, infinity, larger y in the top three bits."""
    if point is None:
        return b"\xc0" + bytes(47)
    x, y = point
    return (x | 1 << 383 | (y > P - y) << 381).to_bytes(48, "big")
