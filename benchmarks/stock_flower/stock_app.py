"""Flower's own FedAvg, ServerApp and ClientApp; each node answers with a made update of the size asked for."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

# Flower looks for these names in the text, without running it.
client = ClientApp()
server = ServerApp()


@client.train()
def train(message: Message, context: Context) -> Message:
    weights = message.content.array_records["arrays"].to_numpy_ndarrays()[0]
    made = weights + np.random.default_rng(context.node_id % 2**32).uniform(-1e-3, 1e-3, weights.shape)
    content = RecordDict(
        {
            "arrays": ArrayRecord([made.astype(np.float32)]),
            "metrics": MetricRecord({"num-examples": 40}),
        }
    )
    return Message(content, reply_to=message)


@server.main()
def main(grid: Grid, context: Context) -> None:
    config = context.run_config
    hospitals, times = int(config["hospitals"]), Path(str(config["times"]))

    class Timed(FedAvg):
        def configure_train(self, *args, **kwargs):  # type: ignore[no-untyped-def]
            with times.open("a") as file:
                file.write(f"{time.time()}\n")
            return super().configure_train(*args, **kwargs)

    strategy = Timed(
        fraction_evaluate=0.0, min_train_nodes=hospitals, min_available_nodes=hospitals, fraction_train=1.0
    )
    weights = ArrayRecord([np.zeros(int(config["parameters"]), np.float32)])
    strategy.start(grid=grid, initial_arrays=weights, num_rounds=int(config["rounds"]))
    with times.open("a") as file:
        file.write(f"{time.time()}\n")
