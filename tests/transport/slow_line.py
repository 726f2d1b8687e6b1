"""A TCP line of so many bytes a second, both ways together with all its connections."""

from __future__ import annotations

import socket
import threading
import time


class SlowLine:
    def __init__(self, target: tuple[str, int], bytes_per_s: float) -> None:
        self._target, self._rate = target, bytes_per_s
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._free_at = {"up": 0.0, "down": 0.0}
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(self._target)
            near.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
            for source, sink, way in ((near, far, "up"), (far, near, "down")):
                threading.Thread(target=self._pump, args=(source, sink, way), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, way: str) -> None:
        try:
            while data := source.recv(2048):
                with self._lock:
                    self._free_at[way] = max(self._free_at[way], time.monotonic()) + len(data) / self._rate
                    wait = self._free_at[way] - time.monotonic()
                time.sleep(max(wait, 0))
                sink.sendall(data)
        except OSError:
            pass
        finally:
            source.close()
            sink.close()

    def close(self) -> None:
        self._listener.close()
