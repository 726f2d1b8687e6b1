"""What three members make sure of together: the same terms, the same inputs, a coin that nobody chose.

Each step ends with signatures by the pinned agent keys over the same digest. A member that tells the two others
different things is found out here, before anything is opened: Hostile ``mpc.members_disagree``.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from consilium_errors import Hostile, Misuse, Refused
from crypto import identity
from crypto.identity import SIGNATURE_BYTES, AgentKey
from crypto.mpc.links import Links
from crypto.mpc.sharing import Held
from crypto.mpc.words import PARTIES, Journal, Terms, keep, tagged

_NONCE = 32


@dataclass(frozen=True)
class Table:
    """One member at the table."""

    terms: Terms
    links: Links
    key: AgentKey
    journal: Journal

    def __post_init__(self) -> None:
        if self.links.orgs != self.terms.members or self.terms.members[self.links.rank] != self.key.address:
            raise Misuse("mpc.members", "links, terms and key name different members")

    def _ranked(self, body: bytes, size: int) -> list[bytes]:
        found = self.links.exchange(body, size)
        return [found[rank] for rank in range(PARTIES)]

    def confirm(self, step: str, digest: bytes) -> None:
        """Nothing if all three sign ``digest`` for this step of this lock.

        Raises:
            Hostile: ``mpc.members_disagree`` naming the member whose signature is over something else.
        """
        signed = tagged("confirm", step.encode(), self.terms.lock_id, digest)
        for rank, signature in enumerate(self._ranked(self.key.sign(signed), SIGNATURE_BYTES)):
            try:
                identity.verify(signed, signature, self.terms.members[rank])
            except Hostile:
                raise Hostile("mpc.members_disagree", f"{self.links.name(rank)} has another {step}") from None

    def greet(self) -> bytes:
        """Agree on the terms; returns the run's name, 32 bytes that the three make together.

        Raises:
            Refused: ``mpc.other_terms``. Hostile: ``mpc.members_disagree``.
        """
        own = self.terms.digest()
        found = self._ranked(own + secrets.token_bytes(_NONCE), len(own) + _NONCE)
        for rank, body in enumerate(found):
            if body[: len(own)] != own:
                raise Refused("mpc.other_terms", f"{self.links.name(rank)} was given other terms")
        run = tagged("run", *found)
        self.confirm("run", run)
        return run

    def bad_inputs(self, run: bytes, held: Mapping[bytes, Held]) -> tuple[bool, ...]:
        """For each hospital whether any member could not read its upload, or two hold different seeds.

        Args:
            held: what this member could open.

        Raises:
            Hostile: ``mpc.members_disagree``.
        """
        bad = [
            org not in held or not same
            for org, same in zip(self.terms.orgs, self._same(run, held), strict=True)
        ]
        votes = self._ranked(bytes(bad), len(bad))
        joined = tuple(any(vote[h] for vote in votes) for h in range(len(bad)))
        self.confirm("input set", tagged("input-set", run, bytes(joined)))
        return joined

    def _same(self, run: bytes, held: Mapping[bytes, Held]) -> list[bool]:
        """Each seed has two holders; they compare what only they know."""
        following, preceding = (self.links.rank + 1) % PARTIES, (self.links.rank - 1) % PARTIES

        def prints(seeds: Sequence[bytes]) -> bytes:
            orgs = self.terms.orgs
            return b"".join(
                tagged("seed", run, org, seed) if seed else bytes(32)
                for org, seed in zip(orgs, seeds, strict=True)
            )

        parts = [held.get(org) for org in self.terms.orgs]
        own = prints([h.own if h else b"" for h in parts])
        shared = prints([h.following if h else b"" for h in parts])
        self.links.send(preceding, own)
        self.links.send(following, shared)
        theirs = self.links.receive(preceding, len(own)), self.links.receive(following, len(own))
        return [
            own[at : at + 32] == theirs[0][at : at + 32] and shared[at : at + 32] == theirs[1][at : at + 32]
            for at in range(0, len(own), 32)
        ]

    def coin(self) -> bytes:
        """32 bytes that no two members can choose, fixed for the lock: a run that is repeated draws the same.

        Everybody commits before anybody reveals. The contribution and the peers' commitments are kept, so that
        throwing again until a vector passes is no way around the check. Another lock has other uploads, and so
        another coin.

        Raises:
            Hostile: ``mpc.coin`` if a member reveals something else than it committed to.
            Refused: ``mpc.coin_changed`` if it committed to something else in an earlier run.
        """
        lock = self.terms.lock_id
        kept = self.journal.get(f"coin/{lock.hex()}")
        if kept is None:
            self.journal.put(f"coin/{lock.hex()}", kept := secrets.token_bytes(_NONCE))

        def commitment(rank: int, nonce: bytes) -> bytes:
            return tagged("coin", lock, self.terms.members[rank], nonce)

        commitments = self._ranked(commitment(self.links.rank, kept), 32)
        keep(self.journal, f"coins/{lock.hex()}", b"".join(commitments), "mpc.coin_changed")
        self.confirm("coin", tagged("coins", *commitments))
        revealed = self._ranked(kept, _NONCE)
        for rank, nonce in enumerate(revealed):
            if commitment(rank, nonce) != commitments[rank]:
                raise Hostile(
                    "mpc.coin", f"{self.links.name(rank)} reveals another coin than it committed to"
                )
        return tagged("seed of projections", lock, *revealed)
