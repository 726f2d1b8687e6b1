"""Exact sums of bounded integer vectors that show nobody the vectors.

`packing` lays values into coefficients, `masks` hides a hospital from the others, a scheme (`schemes`) hides
the sum from the coordinator. One round of one hospital, in order::

    c = packing.pack(u)
    c = masks.apply(c, masks.mask([self_mask, *added], subtracted, packing.coefficients))
    upload = scheme.encrypt(group_seed, c)
    ...  # the coordinator: adder = scheme.adder(m); adder.add(upload) for each; adder.total()
    c = scheme.open(group_seed, total, packing.coefficients)
    c = masks.apply(c, masks.mask([], released_self_masks, packing.coefficients))
    X = packing.unpack(c)
    packing.check_total(X, n)

Only `bfv`, through `_seal`, knows the library underneath; only `child` may run it on a total from outside.
"""

from crypto.secure_sum.packing import Packing

__all__ = ["Packing"]
