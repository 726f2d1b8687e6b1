"""Every key of a round, from what the hospitals told each other. Labels are part of the protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from crypto.commitments import Q
from crypto.kdf import derive
from crypto.secure_sum.masks import scalar_mask


def group_secret(gs: Sequence[bytes], plan_hash: bytes) -> bytes:
    """``gs`` ascending by organisation."""
    return derive("group", *gs, plan_hash)


def cipher_seed(group: bytes) -> bytes:
    return derive("bfv", group)


def salt(group: bytes) -> bytes:
    return derive("salt", group)


def self_mask_key(self_mask: bytes, plan_hash: bytes) -> bytes:
    return derive("self-mask", self_mask, plan_hash)


def unlock_key(group: bytes, org: bytes, lock_id: bytes) -> bytes:
    return derive("unlock", group, org, lock_id)


def share_key(group: bytes, org: bytes, holder: bytes, lock_id: bytes) -> bytes:
    """Under this a holder shows its share of ``org``'s self-mask to the locked set, and to nobody else."""
    return derive("mask-share", group, org, holder, lock_id)


def rho_key(group: bytes, self_mask: bytes, plan_hash: bytes) -> bytes:
    """Opens one hospital's blinded randomness, to holders of the group secret and its released self-mask."""
    return derive("rho", group, self_mask, plan_hash)


def pair_keys(
    me: bytes, mine: Mapping[bytes, bytes], theirs: Mapping[bytes, bytes], plan_hash: bytes
) -> dict[bytes, bytes]:
    """Peer, ascending → the key shared with it.

    Args:
        mine: peer → the secret that I sent it.
        theirs: peer → the secret that it sent me.
    """
    found = {}
    for peer in sorted(theirs):
        low, high = (mine, theirs) if me < peer else (theirs, mine)
        found[peer] = derive("pair", low[peer], high[peer], plan_hash)
    return found


def signs(me: bytes, keys: Mapping[bytes, bytes]) -> tuple[list[bytes], list[bytes]]:
    """``(keys to add, keys to subtract)``: the lower organisation of a pair adds."""
    add = [key for peer, key in keys.items() if me < peer]
    subtract = [key for peer, key in keys.items() if peer < me]
    return add, subtract


def checked_key(group: bytes, org: bytes, lock_id: bytes) -> bytes:
    """Under this ``org`` shows the locked set its part of a check."""
    return derive("checked", group, org, lock_id)


def checked_pair_key(pair: bytes, lock_id: bytes) -> bytes:
    """For the masks of one check, which lie on scalars and not on coefficients."""
    return derive("checked-pair", pair, lock_id)


def blinded(randomness: int, add: Sequence[bytes], subtract: Sequence[bytes]) -> int:
    """ρ = r + Σ± PRF(k) mod q: the blinds cancel in the sum over the set."""
    total = randomness
    total += sum(scalar_mask(k, Q) for k in add)
    total -= sum(scalar_mask(k, Q) for k in subtract)
    return total % Q
