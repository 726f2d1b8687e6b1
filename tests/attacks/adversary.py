"""Who hears everything, robs some hospitals, and tries to read the input of another.

It knows the protocol and derives whatever can be derived: boxes opened with stolen keys, the group's secret from
all g, self-masks from unlocks, pair keys. What remains is taken off an upload, and off differences of totals.
Labels and formulas stand here a second time on purpose: nothing of `participants.round` is used.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np
from google.protobuf.message import Message
from numpy.typing import NDArray

from consilium_errors import Hostile
from crypto import envelopes
from crypto.kdf import derive
from crypto.secure_sum import bfv, masks, sharing
from protos import digests, wire
from protos.consilium.v1 import custody_pb2 as custody
from protos.consilium.v1 import round_pb2 as pb

Fields = NDArray[np.uint64]
KEYED = dict[bytes, bytes]
MESSAGES: dict[str, type[Message]] = {
    "task": pb.Task,
    "hellos": pb.Hellos,
    "ready": pb.Ready,
    "plan": pb.Plan,
    "upload": pb.Upload,
    "locked": pb.Locked,
    "sum": pb.Sum,
}


@dataclass
class Seen:
    """One attempt, as the adversary knows it."""

    ctx: digests.Ctx
    headers: dict[bytes, pb.ReadyHeader] = field(default_factory=dict)
    signed: dict[bytes, pb.Signed] = field(default_factory=dict)
    boxes: dict[tuple[bytes, bytes], bytes] = field(default_factory=dict)  # (from, to) → sealed
    plan_hash: bytes = b""
    uploads: dict[bytes, bytes] = field(default_factory=dict)
    rho_boxes: dict[bytes, bytes] = field(default_factory=dict)
    unlocks: dict[tuple[bytes, bytes], bytes] = field(default_factory=dict)  # (lock, organisation) → sealed
    # what was stolen or given:
    hpke: KEYED = field(default_factory=dict)
    g: KEYED = field(default_factory=dict)
    self_masks: KEYED = field(default_factory=dict)
    pairs: dict[tuple[bytes, bytes], bytes] = field(default_factory=dict)  # (from, to) → p
    pieces: dict[tuple[bytes, bytes], bytes] = field(
        default_factory=dict
    )  # (whose mask, holder) → share | path
    group: bytes = b""


class Adversary:
    def __init__(self) -> None:
        self.attempts: dict[bytes, Seen] = {}
        self.by_plan: dict[bytes, Seen] = {}
        self.locks: dict[bytes, bytes] = {}  # lock → plan
        self.heard: list[bytes] = []

    # what comes its way -------------------------------------------------------------------------------

    def hear(self, kind: str, body: bytes) -> None:
        """A message between a hospital and the coordinator, in either direction."""
        self.heard.append(body)
        if kind == "unlock":
            signed = pb.Signed.FromString(body)
            unlock = pb.Unlock.FromString(signed.payload)
            self.by_plan[self.locks[unlock.lock_id]].unlocks[unlock.lock_id, unlock.org] = unlock.sealed
        if kind not in MESSAGES:
            return
        message = MESSAGES[kind].FromString(body)
        getattr(self, f"_{kind}")(message)

    def _task(self, message: pb.Task) -> None:
        ctx = wire.ctx_from(message.ctx)
        self.attempts.setdefault(ctx.digest(), Seen(ctx))

    def _hellos(self, message: pb.Hellos) -> None:
        """Public keys only."""

    def _ready(self, message: pb.Ready) -> None:
        header = pb.ReadyHeader.FromString(message.header.payload)
        seen = self.attempts[header.ctx_hash]
        seen.headers[header.org], seen.signed[header.org] = header, message.header
        for signed in message.boxes:
            box = pb.Box.FromString(signed.payload)
            seen.boxes[box.org, box.to] = box.sealed

    def _plan(self, message: pb.Plan) -> None:
        seen = self.attempts[message.ctx_hash]
        headers = [pb.ReadyHeader.FromString(s.payload) for s in message.headers]
        uses = [digests.Use(u.dataset, u.version, u.epoch, u.leave_site_out) for h in headers for u in h.uses]
        seen.plan_hash = digests.plan_hash(
            message.ctx_hash,
            digests.uses_hash(sorted(uses)),
            digests.ready_root([s.payload for s in message.headers]),
            digests.inputs_root([h.org for h in headers], [h.commitment for h in headers]),
            message.lock_by,
        )
        self.by_plan[seen.plan_hash] = seen

    def _upload(self, message: pb.Upload) -> None:
        seen = self.by_plan[message.plan_hash]
        seen.uploads[message.org], seen.rho_boxes[message.org] = message.ciphertext, message.rho_box

    def _locked(self, message: pb.Locked) -> None:
        self.locks[message.lock_id] = message.plan_hash

    def _sum(self, message: pb.Sum) -> None:
        """Only what it has made itself."""

    def rob(self, org: bytes, records: Iterable[tuple[str, str, bytes]]) -> None:
        """All that a hospital has ever written down, in the clear."""
        for scope, slot, body in records:
            if slot not in ("hello", "ready", "upload"):
                continue
            seen = self.attempts.get(bytes.fromhex(scope.rsplit("/", 1)[-1]))
            if seen is None:
                continue
            if slot == "hello":
                seen.hpke[org] = custody.HelloRecord.FromString(body).hpke_secret
            elif slot == "ready":
                ready = custody.ReadyRecord.FromString(body)
                seen.g[org], seen.self_masks[org] = ready.g, ready.self_mask
                seen.pairs.update({(org, pair.org): pair.secret for pair in ready.pairs})
            else:
                upload = custody.UploadRecord.FromString(body)
                seen.group = upload.group
                seen.pieces.update({(piece.org, org): piece.secret for piece in upload.shares})

    # what it makes of it ------------------------------------------------------------------------------

    def derive_all(self) -> None:
        for seen in self.attempts.values():
            for (sender, to), sealed in seen.boxes.items():
                if to in seen.hpke:
                    info = digests.tagged("box", seen.ctx.digest(), sender, to)
                    with suppress(Hostile):
                        plain = envelopes.open_sealed(seen.hpke[to], info, sealed)
                        seen.g[sender], seen.pairs[sender, to] = plain[:32], plain[32:64]
                        seen.pieces[sender, to] = plain[64:]
            orgs = sorted(seen.headers)
            if not seen.group and seen.plan_hash and all(o in seen.g for o in orgs):
                seen.group = derive("group", *(seen.g[o] for o in orgs), seen.plan_hash)
            for (lock_id, org), sealed in seen.unlocks.items():
                if seen.group:
                    key = derive("unlock", seen.group, org, lock_id)
                    with suppress(Hostile):
                        seen.self_masks[org] = envelopes.open_once(key, lock_id, sealed)
            for org in set(orgs) - set(seen.self_masks):
                self._put_together(seen, org)

    def _put_together(self, seen: Seen, org: bytes) -> None:
        """A self-mask from all the shares of it that were stolen, should they be enough."""
        orgs = sorted(seen.headers)
        held = {orgs.index(to) + 1: piece for (of, to), piece in seen.pieces.items() if of == org}
        if held:
            mask = sharing.recover(held, len(held))
            if digests.mask_hash(seen.ctx.digest(), org, mask) == seen.headers[org].mask_hash:
                seen.self_masks[org] = mask

    def candidates(self, victim: bytes) -> Iterator[Fields]:
        """Every guess at the victim's coefficients: each upload, and each difference of two totals."""
        self.derive_all()
        by_round: dict[tuple[int, int], list[tuple[frozenset[bytes], Fields]]] = defaultdict(list)
        for seen in self.attempts.values():
            if not (seen.group and seen.uploads):
                continue
            if victim in seen.uploads:
                yield from self._peeled(seen, victim)
            if set(seen.uploads) == set(seen.headers):
                total = self._total(seen)
                by_round[seen.ctx.round, seen.ctx.release].append((frozenset(seen.uploads), total))
        for totals in by_round.values():
            for big, with_victim in totals:
                for small, without in totals:
                    if big - small == {victim}:
                        yield (with_victim - without) & masks.PLAIN_MASK

    def _open(self, seen: Seen, uploads: Iterable[bytes]) -> Fields:
        adder = bfv.Adder(_coefficients(seen))
        for upload in uploads:
            adder.add(upload)
        return bfv.decrypt(derive("bfv", seen.group), adder.total(), _coefficients(seen))

    def _self_keys(self, seen: Seen, orgs: Iterable[bytes]) -> list[bytes]:
        known = [seen.self_masks[o] for o in orgs if o in seen.self_masks]
        return [derive("self-mask", b, seen.plan_hash) for b in known]

    def _peeled(self, seen: Seen, victim: bytes) -> Iterator[Fields]:
        """With all masks known taken off; and with fewer, should some never have been put on."""
        opened = self._open(seen, [seen.uploads[victim]])
        own = self._self_keys(seen, [victim])
        added, taken = self._pair_keys(seen, victim)
        for up, down in {
            (tuple(own + added), tuple(taken)),
            (tuple(added), tuple(taken)),
            (tuple(own), ()),
            ((), ()),
        }:
            yield masks.apply(opened, masks.mask(down, up, len(opened)))

    def _pair_keys(self, seen: Seen, victim: bytes) -> tuple[list[bytes], list[bytes]]:
        added, taken = [], []
        for peer in seen.headers:
            if peer == victim or not {(victim, peer), (peer, victim)} <= set(seen.pairs):
                continue
            low, high = sorted((victim, peer))
            key = derive("pair", seen.pairs[low, high], seen.pairs[high, low], seen.plan_hash)
            (added if victim == low else taken).append(key)
        return added, taken

    def _total(self, seen: Seen) -> Fields:
        opened = self._open(seen, seen.uploads.values())
        return masks.apply(opened, masks.mask([], self._self_keys(seen, sorted(seen.uploads)), len(opened)))

    def guesses(self, victim: bytes) -> Iterator[Fields]:
        """Each 32 bytes that ever passed, taken as the group's secret, as the cipher's seed, and as both masks."""
        words = self.words()
        for seen in self.attempts.values():
            if victim not in seen.uploads:
                continue
            for word in words:
                for seed in (word, derive("bfv", word)):
                    adder = bfv.Adder(_coefficients(seen))
                    adder.add(seen.uploads[victim])
                    yield bfv.decrypt(seed, adder.total(), _coefficients(seen))

    def words(self) -> set[bytes]:
        """Every field of 32 bytes in anything heard."""
        found: set[bytes] = set()
        for body in self.heard:
            _words(body, found, 0)
        return found


def _words(data: bytes, found: set[bytes], depth: int) -> None:
    """Length-delimited fields of any protobuf, nested as deep as they parse."""
    at = 0
    while at < len(data) and depth < 6:
        tag, at = _varint(data, at)
        if tag is None:
            return
        if tag & 7 == 0:
            value, at = _varint(data, at)
            if value is None:
                return
        elif tag & 7 == 2:
            size, at = _varint(data, at)
            if size is None or at + size > len(data):
                return
            part = data[at : at + size]
            if size == 32:
                found.add(part)
            elif 32 < size < 1 << 16:
                _words(part, found, depth + 1)
            at += size
        else:
            return


def _varint(data: bytes, at: int) -> tuple[int | None, int]:
    value = 0
    for shift in range(0, 64, 7):
        if at >= len(data):
            return None, at
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    return None, at


def _coefficients(seen: Seen) -> int:
    header = next(iter(seen.headers.values()))
    return -(-header.length // header.fields)
