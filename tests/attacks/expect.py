"""What an attack must run into."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from consilium_errors import Error


@contextmanager
def stopped(kind: type[Error], *codes: str) -> Iterator[None]:
    """The block must raise exactly this kind of error with one of these codes."""
    with pytest.raises(Error) as caught:
        yield
    assert type(caught.value) is kind, f"{type(caught.value).__name__} {caught.value.code}"
    assert caught.value.code in codes, caught.value.code
