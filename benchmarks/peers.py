"""What other systems' hospitals do with the same vector: Flower's SecAgg+ and NVFlare's CKKS through TenSEAL."""

from __future__ import annotations

import io
import time
from collections.abc import Mapping
from contextlib import redirect_stdout
from typing import Any

import numpy as np
from numpy.typing import NDArray

Update = NDArray[np.float64]


def secaggplus(update: Update, clients: int) -> tuple[float, int]:
    """Seconds that one stock SecAgg+ client works on a round, and the bytes of its masked vector.

    All clients run the stock mod of flwr; this relays between them as its workflow does, with the workflow's
    default ranges. Only the first client's time is taken, in all four stages.
    """
    from flwr.common.secure_aggregation.secaggplus_constants import Key, Stage

    room = _Room(update, clients)
    keys = room.say(
        Stage.SETUP,
        {
            i: {
                Key.SAMPLE_NUMBER: clients,
                Key.SHARE_NUMBER: clients,
                Key.THRESHOLD: clients // 2 + 1,
                Key.CLIPPING_RANGE: 8.0,
                Key.TARGET_RANGE: 1 << 22,
                Key.MOD_RANGE: 1 << 32,
                Key.MAX_WEIGHT: 1000.0,
            }
            for i in room.clients
        },
    )
    public = {str(i): [keys[i][Key.PUBLIC_KEY_1], keys[i][Key.PUBLIC_KEY_2]] for i in room.clients}
    shares = room.say(Stage.SHARE_KEYS, dict.fromkeys(room.clients, public))
    boxes: dict[int, dict[str, list[Any]]] = {
        i: {Key.SOURCE_LIST: [], Key.CIPHERTEXT_LIST: []} for i in room.clients
    }
    for source, said in shares.items():
        for to, box in zip(said[Key.DESTINATION_LIST], said[Key.CIPHERTEXT_LIST], strict=True):
            boxes[to][Key.SOURCE_LIST].append(source)
            boxes[to][Key.CIPHERTEXT_LIST].append(box)
    first = room.clients[0]
    masked = room.say(Stage.COLLECT_MASKED_VECTORS, {first: boxes[first]})
    room.say(Stage.UNMASK, {first: {Key.ACTIVE_NODE_ID_LIST: room.clients, Key.DEAD_NODE_ID_LIST: []}})
    return room.seconds, sum(map(len, masked[first][Key.MASKED_PARAMETERS]))


class _Room:
    """Stock clients, each with its context; `seconds` are the first one's."""

    def __init__(self, update: Update, clients: int) -> None:
        from flwr.common import Context, RecordDict
        from flwr.supercore.task_identity import TaskIdentity

        TaskIdentity.run_id = TaskIdentity.node_id = TaskIdentity.task_id = 1  # messages ask
        self.clients = list(range(1, clients + 1))
        self.seconds = 0.0
        self._update = update
        self._contexts = {i: Context(1, i, {}, RecordDict(), {}) for i in self.clients}

    def say(self, stage: str, configs: Mapping[int, Mapping[str, Any]]) -> dict[int, Mapping[str, Any]]:
        from flwr.client.mod import secaggplus_mod
        from flwr.common import ConfigRecord, Message, RecordDict
        from flwr.common.secure_aggregation.secaggplus_constants import RECORD_KEY_CONFIGS, Key

        answers: dict[int, Mapping[str, Any]] = {}
        for client, config in configs.items():
            content = RecordDict({RECORD_KEY_CONFIGS: ConfigRecord({Key.STAGE: stage, **config})})
            asked = Message(content, dst_node_id=client, message_type="train")
            begin = time.perf_counter()
            said = secaggplus_mod(asked, self._contexts[client], self._train)
            if client == self.clients[0]:
                self.seconds += time.perf_counter() - begin
            answers[client] = said.content.config_records[RECORD_KEY_CONFIGS]
        return answers

    def _train(self, message: Any, context: Any) -> Any:
        """The update is there already; what it takes to hand it over is the peer's own."""
        from flwr.common import Code, FitRes, Message, Status, ndarrays_to_parameters
        from flwr.compat.common.recorddict_compat import fitres_to_recorddict

        result = FitRes(Status(Code.OK, ""), ndarrays_to_parameters([self._update]), 1000, {})
        return Message(fitres_to_recorddict(result, keep_input=False), reply_to=message)


def nvflare_ckks(update: Update) -> tuple[float, int]:
    """Seconds and bytes of what NVFlare's ``HEModelEncryptor`` and serialisation do with one variable.

    Its provisioning's parameters (nvflare 2.6, HEBuilder): CKKS, degree 8192, primes of 60, 40 and 40 bits, scale
    2^40, a public-key context; the weighting by iterations as it does by default. Keys are made beforehand.
    """
    import tenseal as ts

    context = ts.context(ts.SCHEME_TYPE.CKKS, poly_modulus_degree=8192, coeff_mod_bit_sizes=[60, 40, 40])
    context.generate_relin_keys()
    context.global_scale = 2**40
    with redirect_stdout(io.StringIO()):  # TenSEAL prints advice where the numbers go
        begin = time.perf_counter()
        sealed = ts.ckks_vector(context, update.ravel() * np.float64(10)).serialize()
        return time.perf_counter() - begin, len(sealed)
