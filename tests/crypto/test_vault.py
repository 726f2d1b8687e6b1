import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV
from hypothesis import given
from hypothesis import strategies as st

from consilium_errors import Hostile, Misuse
from crypto.vault import OVERHEAD, Vault

KEY = bytes(range(32))
VAULT = Vault(KEY)


def refused(vault, name, sealed):
    with pytest.raises(Hostile) as error:
        vault.open(name, sealed)
    return error.value.code


def test_rfc8452_library_vector():
    """RFC 8452, appendix C.2: AES-256, empty associated data, 8 bytes of plaintext."""
    key, nonce = bytes([1]) + bytes(31), bytes([3]) + bytes(11)
    assert AESGCMSIV(key).encrypt(nonce, bytes([1]) + bytes(7), b"").hex() == (
        "c2ef328e5c71c83b843122130f7364b761e0b97427e3df28"
    )


@given(st.text(max_size=30), st.binary(max_size=300))
def test_round_trip(name, plaintext):
    sealed = VAULT.seal(name, plaintext)
    assert len(sealed) == len(plaintext) + OVERHEAD
    assert VAULT.open(name, sealed) == plaintext == Vault(KEY).open(name, sealed)


def test_fresh_nonces_hide_equality():
    assert len({VAULT.seal("x", b"same") for _ in range(100)}) == 100


@given(st.data())
def test_alterations(data):
    sealed = bytearray(VAULT.seal("inputs", b"a hospital's input"))
    sealed[data.draw(st.integers(0, len(sealed) - 1))] ^= data.draw(st.integers(1, 255))
    assert refused(VAULT, "inputs", bytes(sealed)) == "vault.open"


@given(st.binary(max_size=100))
def test_foreign_bytes(sealed):
    assert refused(VAULT, "inputs", sealed) == "vault.open"


def test_entries_cannot_be_swapped_or_cut_or_read_with_another_key():
    sealed = VAULT.seal("round 1", b"x")
    assert refused(VAULT, "round 2", sealed) == "vault.open"
    assert refused(VAULT, "round 1", sealed[:-1]) == "vault.open"
    assert refused(Vault(bytes(32)), "round 1", sealed) == "vault.open"


def test_key_file(tmp_path):
    sealed = Vault.load_or_create(tmp_path / "vault.key").seal("x", b"kept")
    assert Vault.load_or_create(tmp_path / "vault.key").open("x", sealed) == b"kept"
    (tmp_path / "vault.key").chmod(0o644)
    with pytest.raises(Misuse) as error:
        Vault.load_or_create(tmp_path / "vault.key")
    assert error.value.code == "key_file.permissions"
    assert "chmod 600" in error.value.remedy


def test_key_length_and_repr():
    with pytest.raises(Misuse) as error:
        Vault(b"short")
    assert error.value.code == "vault.key_length"
    assert repr(VAULT) == "Vault()"
