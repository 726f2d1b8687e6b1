"""The key that signs for a hospital in rounds: delegated on the chain by the steward, and replaced there."""

from __future__ import annotations

import threading
import time

import structlog

from consent_contracts.chain import Chain
from consilium_errors import Refused, Unavailable
from crypto import keyfiles
from crypto.identity import AgentKey
from deploy.hospital import Home
from deploy.provision import files

log = structlog.get_logger(__name__)

FINAL_WAIT_S = 180.0


def delegate(home: Home, chain: Chain) -> bool:
    """Let the kit's agent sign for the hospital; True if that had to be said, and is final now.

    Raises:
        Misuse: ``account.missing``. Refused: ``chain.not_hospital``. Unavailable: ``chain.*``.
    """
    agent = home.agent().address
    if delegated(chain, home.org) == agent:
        return False
    home.steward().delegate(agent)
    _until_final(chain, home.org, agent)
    return True


def delegated(chain: Chain, org: bytes) -> bytes | None:
    return chain.snapshot().agents([org]).get(org)


def check_delegated(home: Home, chain: Chain) -> None:
    """Raises Refused ``agent.not_delegated``."""
    if delegated(chain, home.org) != home.agent().address:
        raise Refused(
            "agent.not_delegated",
            "the chain does not know agent.key as this hospital's",
            "consilium participant init, with the steward's key",
        )


def rotate(home: Home, chain: Chain) -> bytes:
    """A new agent key, known to the chain before it replaces the old one, which is kept as agent.key.old.

    Killed anywhere, it goes on with the same new key when called again.

    Raises:
        Misuse: ``participant.running``, ``account.missing``. Unavailable: ``chain.*``.
    """
    with home.alone():
        following = home.kit.below("agent.key.next")
        new = AgentKey.load_or_create(following)
        if delegated(chain, home.org) != new.address:
            home.steward().delegate(new.address)
            _until_final(chain, home.org, new.address)
        current = home.kit.below("agent.key")
        # A copy first: without agent.key, even for an instant, a start would make a third key.
        if current.exists():
            files.write(home.kit.below("agent.key.old"), keyfiles.load(current))
        following.replace(current)
        return new.address


def _until_final(chain: Chain, org: bytes, agent: bytes) -> None:
    deadline = time.monotonic() + FINAL_WAIT_S
    while delegated(chain, org) != agent:
        if time.monotonic() > deadline:
            raise Unavailable(
                "chain.not_final",
                "the new agent is sent but not final yet",
                "call the same command again later",
            )
        time.sleep(0.2)


def wait_delegated(home: Home, chain: Chain, stop: threading.Event) -> None:
    """Before serving: with the steward's key say it, without it wait until somebody does.

    Raises:
        Misuse: ``account.foreign``, ``key_file.*``.
    """
    told = False
    while not stop.is_set():
        try:
            if home.desk() is not None:
                delegate(home, chain)
            check_delegated(home, chain)
            return
        except (Refused, Unavailable) as error:
            if not told:
                log.warning("waiting", code=error.code)
            told = True
            stop.wait(2.0)
