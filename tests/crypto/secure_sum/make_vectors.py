"""Writes ``vectors.json``. Run by hand when the wire version changes: ``python make_vectors.py``.

Encryption is randomised, so the uploads change with each run; what they open to does not.
"""

import hashlib
import json
from pathlib import Path

import numpy as np

from crypto.secure_sum import bfv, masks, schemes

Q = 0x73EDA753299D7D483339D80809A1D80553BDA402FFFE5BFEFFFFFFFF00000001
KEYS = [bytes(32), bytes(range(32)), b"\xff" * 32]


def main() -> None:
    coefficients = [0, 1, (1 << 44) - 1, 1 << 44, (1 << 45) - 1]
    vectors = {
        "masks": [
            {
                "key": key.hex(),
                "keystream": masks.keystream(key, 5).tolist(),
                "scalar": f"{masks.scalar_mask(key, Q):064x}",
            }
            for key in KEYS
        ],
        "bfv": [
            {
                "seed": key.hex(),
                "ternary_sha256": hashlib.sha256(bfv.secret(key).astype("<u8").tobytes()).hexdigest(),
                "coefficients": coefficients,
                "upload": bfv.encrypt(key, np.array(coefficients, np.uint64)).hex(),
            }
            for key in KEYS
        ],
        "methods": {s.name: s.method_id.hex() for s in (schemes.fhe(), schemes.clear())},
    }
    Path(__file__).with_name("vectors.json").write_text(json.dumps(vectors, indent=1) + "\n")


if __name__ == "__main__":
    main()
