"""Writes ``crypto/commitments/pinned.py``. Run by hand, once for each version of the generators' tag:

python -m tests.vectors.pin_generators
"""

from pathlib import Path

from crypto.commitments import generators, pinned

CHUNKS = 256
_MARK = "CHUNK_DIGESTS: Final[tuple[str, ...]] = "


def main() -> None:
    generators.CHUNK_DIGESTS = ()  # neither compare with the old table nor cache what is not pinned yet
    points = generators.Generators.load(CHUNKS * pinned.CHUNK).points
    digests = [
        generators.digest(points[at : at + pinned.CHUNK]) for at in range(0, len(points), pinned.CHUNK)
    ]
    file = Path(pinned.__file__)
    head, _, _ = file.read_text().partition(_MARK)
    file.write_text(f"{head}{_MARK}(\n" + "".join(f'    "{digest}",\n' for digest in digests) + ")\n")


if __name__ == "__main__":
    main()
