"""Sums, medians and trimmed means by a committee of three, over inputs that no member sees.

Hospitals (`sharing`, `opening`) need no more than numpy. A member runs one `job` in one process: `links` to the
other two, `checks` on inputs nobody can see, `robust` for small vectors. CrypTen is behind `seam` and nowhere
else. At most one of the three may be corrupted, and is trusted to follow the protocol where `job` says so.
"""
