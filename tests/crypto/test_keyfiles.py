import os
import secrets
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from consilium_errors import Misuse
from crypto import keyfiles


def fresh() -> bytes:
    return secrets.token_bytes(32)


def refused(path: Path) -> str:
    with pytest.raises(Misuse) as error:
        keyfiles.load_or_create(path, fresh)
    return error.value.code


@pytest.fixture
def key_file(tmp_path):
    path = tmp_path / "home" / "key"
    keyfiles.load_or_create(path, fresh)
    return path


def test_made_once_for_the_owner_only(tmp_path):
    before = os.umask(0)
    try:
        path = tmp_path / "home" / "key"
        key = keyfiles.load_or_create(path, fresh)
    finally:
        os.umask(before)
    assert keyfiles.load_or_create(path, fresh) == key
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert [p.name for p in path.parent.iterdir()] == ["key"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o666])
def test_readable_by_others(key_file, mode):
    key_file.chmod(mode)
    assert refused(key_file) == "key_file.permissions"


@pytest.mark.parametrize("content", [b"", bytes(31), bytes(33), bytes(1 << 20)])
def test_wrong_size(key_file, content):
    key_file.write_bytes(content)
    assert refused(key_file) == "key_file.malformed"
    assert key_file.read_bytes() == content  # never replaced


def test_no_link_pipe_or_folder_in_its_place(key_file):
    link, pipe, folder, loose = (key_file.with_name(n) for n in ("link", "pipe", "folder", "loose"))
    link.symlink_to(key_file)
    loose.symlink_to(key_file.with_name("nowhere"))
    os.mkfifo(pipe, 0o600)
    folder.mkdir()
    assert {refused(p) for p in (link, pipe, folder, loose)} == {"key_file.malformed"}


def test_a_key_stored_in_between_stays(tmp_path):
    path, theirs = tmp_path / "key", fresh()

    def late() -> bytes:
        keyfiles.load_or_create(path, lambda: theirs)
        return fresh()

    assert keyfiles.load_or_create(path, late) == theirs == path.read_bytes()


def test_who_creates_at_once_ends_with_one_key(tmp_path):
    path, gate = tmp_path / "key", Barrier(4)

    def slow_fresh() -> bytes:  # all four have seen that there is no key before any stores one
        gate.wait(timeout=20)
        return fresh()

    with ThreadPoolExecutor(4) as pool:
        found = set(pool.map(lambda _: keyfiles.load_or_create(path, slow_fresh), range(4)))
    assert found == {path.read_bytes()}
    assert [p.name for p in tmp_path.iterdir()] == ["key"]


def test_loading_does_not_create(tmp_path):
    with pytest.raises(FileNotFoundError):
        keyfiles.load(tmp_path / "key")
    assert not list(tmp_path.iterdir())
