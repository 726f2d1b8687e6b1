"""A coordinator's transport as a process of its own, to be killed: notes what it receives, sends what it is told.

Arguments: a JSON file with the configuration, and a folder. Letters to send are files in ``folder/out``; what came
is in ``folder/came``, one line for each, noted before it is acknowledged.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from coordinator.transport.mailbox import FlowerMailbox, LinkConfig


def main() -> None:
    raw = json.loads(Path(sys.argv[1]).read_text())
    folder = Path(sys.argv[2])
    config = LinkConfig(
        folder=Path(raw["folder"]),
        listen=("127.0.0.1", raw["port"]),
        ca=Path(raw["ca"]),
        certificate=Path(raw["certificate"]),
        key=Path(raw["key"]),
        me=bytes.fromhex(raw["me"]),
        node_keys={bytes.fromhex(org): key.encode() for org, key in raw["node_keys"].items()},
    )
    mailbox = FlowerMailbox(config)
    mailbox.start()
    (folder / "port").write_text(str(mailbox.gate.address[1]))
    while True:
        for path in sorted((folder / "out").iterdir()):
            to, body = path.read_bytes()[:20], path.read_bytes()[20:]
            mailbox.post(to, body)
            path.unlink()
        with (folder / "came").open("a") as came:
            for letter in mailbox.fetch(config.me):
                came.write(f"{letter.number} {letter.body.decode()}\n")
                came.flush()
                os.fsync(came.fileno())
                mailbox.acknowledge(config.me, letter.number)
        time.sleep(0.02)


if __name__ == "__main__":
    main()
