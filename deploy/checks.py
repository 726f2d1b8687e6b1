"""What can be wrong with a machine, a kit and a chain; each check says what, and how to mend it.

Pure of the command line: `deploy.doctor` prints them, `deploy.ops.Watch` repeats some while a role serves.
"""

from __future__ import annotations

import shutil
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from pathlib import Path

from consent_contracts.chain import Addresses, Chain
from consent_contracts.rpc import Rpc, quantity
from consilium_errors import Error, Misuse
from crypto import certificates, keyfiles

DISK_LOW, DISK_OUT = 2 << 30, 200 << 20
RENEW_BEFORE = timedelta(days=30)
SKEW_S, STANDS_S = 15.0, 120.0
#: A round costs two transactions of about half a million gas each with ten hospitals.
GAS_LOW = 50_000_000


class Level(Enum):
    GOOD = "good"
    WARNING = "warning"
    FAILING = "failing"


@dataclass(frozen=True)
class Finding:
    """One check's outcome; ``code`` is empty when all is well."""

    check: str
    level: Level
    says: str
    code: str = ""
    remedy: str = ""


def good(check: str, says: str) -> Finding:
    return Finding(check, Level.GOOD, says)


def warning(check: str, code: str, says: str, remedy: str) -> Finding:
    return Finding(check, Level.WARNING, says, code, remedy)


def failing(check: str, code: str, says: str, remedy: str) -> Finding:
    return Finding(check, Level.FAILING, says, code, remedy)


_REMEDIES = {
    "rpc.unreachable": "start the node, or mend its URL under [chain] rpc",
    "chain.wrong_id": "the URL belongs to another chain: mend [chain] rpc or id",
    "chain.wrong_code": "mend [chain] registry and ledger, or do not use this chain: its contracts are not ours",
    "chain.rpcs_disagree": "find out which node lies or lags, and name another under [chain] rpc",
    "chain.stale": "look whether the nodes follow the chain, and at this machine's clock",
    "chain.behind": "wait until the node has caught up, or name another",
}


def of(check: str, error: Error) -> Finding:
    """An error of ours as a finding."""
    remedy = error.remedy or _REMEDIES.get(error.code, "see the log of whoever runs it")
    return Finding(check, Level.FAILING, str(error), error.code, remedy)


# machine --------------------------------------------------------------------------------------------------


def disk(path: Path, free: Callable[[Path], int] = lambda p: shutil.disk_usage(p).free) -> Finding:
    """``disk.low``, ``disk.full``."""
    left = free(path)
    says = f"{left / (1 << 30):.1f} GiB free for {path.name or path}"
    remedy = "free space, or move the folder: a full disk stops every round until there is room"
    if left < DISK_OUT:
        return failing("disk", "disk.full", says, remedy)
    if left < DISK_LOW:
        return warning("disk", "disk.low", says, remedy)
    return good("disk", says)


def clock(rpc: Rpc, now: Callable[[], float] = time.time) -> Finding:
    """This machine's clock against the newest block: ``clock.behind``, ``clock.ahead``, or ``chain.*``, ``rpc.*``."""
    try:
        block = rpc.block("latest")["timestamp"]
    except Error as error:
        return of("clock", error)
    ahead = now() - block
    remedy = "let NTP set this machine's clock: certificates, consents and locks go by it"
    if ahead < -SKEW_S:
        return failing(
            "clock", "clock.behind", f"this clock is {-ahead:.0f} s behind the chain's newest block", remedy
        )
    if ahead > STANDS_S:
        says = (
            f"the chain's newest block is {ahead:.0f} s old: this clock is ahead, or the chain stands still"
        )
        return warning("clock", "clock.ahead", says, f"{remedy}; if it is right, ask who runs the chain")
    return good("clock", f"{max(ahead, 0):.0f} s after the chain's newest block")


# kit ------------------------------------------------------------------------------------------------------


def folder(kit: Path) -> Iterator[Finding]:
    """``kit.folder``, ``kit.permissions`` naming the first open file."""
    remedy = f"if nobody has read it: chmod -R go= {kit}; else make its keys anew"
    if kit.stat().st_mode & 0o077:
        yield failing("kit", "kit.folder", f"{kit} is open to other users", remedy)
        return
    for path in sorted(kit.rglob("*")):
        if stat.S_ISREG(path.lstat().st_mode) and path.stat().st_mode & 0o077:
            yield failing("kit", "kit.permissions", f"{path.relative_to(kit)} is open to other users", remedy)
            return
    yield good("kit", "readable by nobody else")


def certificate(kit: Path, role: str, org: bytes, now: Callable[[], datetime] = certificates.now) -> Finding:
    """``certificate.*`` for a pair that does not fit, has ended or ends soon, or speaks for another."""
    try:
        pem = [(kit / name).read_bytes() for name in ("ca.pem", "tls.pem", "tls.key")]
    except OSError as error:
        missing = Path(str(error.filename)).name
        return failing(
            "certificate", "certificate.missing", f"no {missing} in the kit", "provision the kit again"
        )
    try:
        member = certificates.check_own(*pem, clock=now)
    except Misuse as error:
        return of("certificate", error)
    renew = "consilium provision renew, by the consortium's authority"
    if (member.role, member.org) != (role, org):
        says = f"it speaks for {member.role} 0x{member.org.hex()}, the kit is another's"
        return failing("certificate", "certificate.role", says, renew)
    left = member.not_after - now()
    if left < RENEW_BEFORE:
        return warning("certificate", "certificate.ends", f"valid for {left.days} more days", renew)
    return good("certificate", f"{role}, valid until {member.not_after:%Y-%m-%d}")


def keys(kit: Path, names: Sequence[str]) -> Iterator[Finding]:
    """``key_file.*``, ``kit.no_key``."""
    for name in names:
        try:
            keyfiles.load(kit / name)
        except FileNotFoundError:
            yield failing(
                f"key {name}", "kit.no_key", f"{name} is missing", "restore it from a backup, or provision"
            )
        except Misuse as error:
            yield of(f"key {name}", error)
        else:
            yield good(f"key {name}", "present, 0600")


# chain ----------------------------------------------------------------------------------------------------


def nodes(
    urls: Sequence[str], addresses: Addresses, finality: str | int, patience_s: float = 3.0
) -> Iterator[Finding]:
    """Each node by itself, then all together: ``rpc.*``, ``chain.*``."""
    reachable: list[Rpc] = []
    for url in urls:
        rpc = Rpc(url, timeout=5.0)
        name = f"node {rpc.name}" + (f" ({len(reachable) + 1})" if len(urls) > 1 else "")
        try:
            Chain([rpc], addresses, finality=finality, max_age=None).check()
        except Error as error:
            yield of(name, error)
            continue
        reachable.append(rpc)
        yield good(name, f"chain {addresses.chain_id}, our contracts")
    if not reachable:
        return
    if len(urls) < 2:
        says = "one node only: its word decides on consent, right or wrong"
        yield warning("nodes", "chain.one_node", says, "name a second, independent node under [chain] rpc")
    yield from _final(Chain(reachable, addresses, finality=finality), patience_s)


def _final(chain: Chain, patience_s: float) -> Iterator[Finding]:
    remedy = "a laptop chain needs --slots-in-an-epoch 0; elsewhere ask who runs the chain, or set [chain] finality"
    try:
        first = chain.snapshot()
        deadline = time.monotonic() + patience_s
        found = first
        while found.number == first.number and time.monotonic() < deadline:
            time.sleep(0.1)
            chain.refresh()
            found = chain.snapshot()
    except Error as error:
        yield Finding("finality", Level.FAILING, str(error), error.code, error.remedy or remedy)
        return
    finally:
        chain.close()
    if found.number == 0:
        yield failing("finality", "chain.no_final_block", "no block is ever final here", remedy)
    else:
        yield good(
            "finality", f"block {found.number} is final at {len(chain.rpcs)} of {len(chain.rpcs)} nodes"
        )


def gas(rpc: Rpc, account: bytes) -> Finding:
    """``gas.low``, ``gas.empty``: what the account can still pay for at the present price."""
    try:
        balance = quantity(rpc.call("eth_getBalance", "0x" + account.hex(), "latest"))
        price = quantity(rpc.call("eth_gasPrice"))
    except Error as error:
        return of("gas", error)
    units = balance // max(price, 1)
    says = f"0x{account.hex()} can pay for {units:,} gas"
    remedy = "send currency of the chain to that address"
    if balance == 0 and price > 0:
        return failing("gas", "gas.empty", says, remedy)
    if units < GAS_LOW:
        return warning("gas", "gas.low", says, remedy)
    return good("gas", says)
