"""The one Flower app that a consortium's run names: it holds a name and no code.

Flower wants an app for a run; hospitals run their own installed agent instead and refuse any other app by its hash.
"""

from __future__ import annotations

import hashlib
import io
import zipfile

_PROJECT = """\
[project]
name = "consilium-mailbox"
version = "1.0.0"
description = "Carries sealed letters; holds no code."
license = "Apache-2.0"
dependencies = []

[tool.flwr.app]
publisher = "consilium"

[tool.flwr.app.components]
serverapp = "none:none"
clientapp = "none:none"
"""
FAB_ID = "consilium/consilium-mailbox"


def _build() -> bytes:
    """The same bytes everywhere: stored, not deflated, with a fixed date (as in Flower's own bundles)."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as bundle:
        entry = zipfile.ZipInfo("pyproject.toml", (2024, 10, 1, 0, 0, 0))
        entry.create_system = 3
        bundle.writestr(entry, _PROJECT)
    return buffer.getvalue()


FAB = _build()
FAB_HASH = hashlib.sha256(FAB).hexdigest()
