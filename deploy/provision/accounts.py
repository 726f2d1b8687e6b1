"""Accounts on the chain as consortium.toml names them: new, a development account, a key file, or only an address."""

from __future__ import annotations

import os
from pathlib import Path

from consilium_errors import Misuse
from crypto import keyfiles
from crypto.identity import AgentKey


def key_of(account: str, base: Path) -> AgentKey:
    """The key that an account names.

    Args:
        account: ``dev:N``, ``file:PATH`` (32 bytes, 0600, relative to ``base``), ``env:NAME`` (hexadecimal) or
            ``new``.

    Raises:
        Misuse: ``account.missing``, ``account.malformed``, ``key_file.*``.
    """
    if account == "new":
        return AgentKey.generate()
    kind, _, value = account.partition(":")
    if kind == "dev":
        from consent_contracts.laptop import dev_key

        return AgentKey.from_bytes(dev_key(int(value)))
    if kind == "file":
        try:
            return AgentKey.from_bytes(keyfiles.load(base / value))
        except FileNotFoundError:
            raise Misuse("account.missing", f"no key file {value}", "name a file of 32 bytes") from None
    found = os.environ.get(value, "")
    if not found:
        raise Misuse("account.missing", f"{value} is not set", f"export {value}=<64 hexadecimal digits>")
    try:
        return AgentKey.from_bytes(bytes.fromhex(found.removeprefix("0x")))
    except ValueError:
        raise Misuse("account.malformed", f"{value} is not hexadecimal", "64 hexadecimal digits") from None
