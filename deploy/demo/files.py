"""A hospital's own hospital.toml as it goes into its kit: peers trusted, approval as asked, the data left in place."""

from __future__ import annotations

from collections.abc import Sequence

import tomli_w

from participants.config import HospitalConfig, PostgresqlSource


def hospital_file(config: HospitalConfig, peers: Sequence[bytes], approve: str) -> str:
    """TOML text. A relative path to data is resolved, because the text will lie elsewhere."""
    document = config.model_dump(mode="json", by_alias=True, exclude_none=True)
    if not isinstance(config.source, PostgresqlSource):
        document["source"]["path"] = str(config.path.resolve())
    document["policy"]["trusted"] = [f"0x{peer.hex()}" for peer in peers]
    document["policy"]["approve"] = approve
    return tomli_w.dumps(document)
