"""A deadline that holds over an HTTP call: every socket of its client is shut down when the time is over.

A server that trickles bytes never meets a read timeout. Of a streamed answer each piece puts the deadline off, up to a
limit for all of it.
"""

import contextlib
import functools
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from swarm.errors import Escaped
from workers.proposers.openai_api.body import limit_body

if TYPE_CHECKING:
    import httpx2


class Deadline:
    """`quiet_s`: for the next piece, and for the whole where nothing is streamed; `seconds` in all."""

    def __init__(self, seconds: float, quiet_s: float | None = None) -> None:
        self.seconds = seconds
        self._quiet_s = seconds if quiet_s is None else min(seconds, quiet_s)
        self._last = time.monotonic() + seconds
        self._sockets: list[socket.socket] = []
        self._lock = threading.Lock()
        self.expired = False
        self._arm(self._quiet_s)

    def __enter__(self) -> "Deadline":
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    def heard(self) -> None:
        """A piece has come."""
        with self._lock:
            if not self.expired:
                self._timer.cancel()
                self._arm(min(self._quiet_s, max(0.0, self._last - time.monotonic())))

    def http_client(self, base_url: str | None) -> "httpx2.Client":
        """A proxy is not asked for what is on this machine."""
        import httpx2

        hooks: dict[str, list[Any]] = {"request": [self._watch], "response": [limit_body]}
        return httpx2.Client(
            event_hooks=hooks,
            headers={"accept-encoding": "identity"},
            verify=_tls(),
            trust_env=not is_loopback(base_url),
        )

    def explain(self, error: BaseException) -> str:
        if self.expired:
            return f"no complete answer within {self._quiet_s if self._quiet_s < self.seconds else self.seconds:.3g} s"
        return Escaped(error.__cause__ or error).text

    def _arm(self, seconds: float) -> None:
        self._timer = threading.Timer(seconds, self._expire)
        self._timer.daemon = True
        self._timer.start()

    def _watch(self, request: "httpx2.Request") -> None:
        request.extensions["trace"] = self._trace

    def _trace(self, event: str, info: Mapping[str, Any]) -> None:
        if event.endswith(("connect_tcp.complete", "start_tls.complete")):
            connection = info["return_value"].get_extra_info("socket")
            with self._lock:
                self._sockets.append(connection)
                if self.expired:
                    _shut_down(connection)

    def _expire(self) -> None:
        with self._lock:
            self.expired = True
            for connection in self._sockets:
                _shut_down(connection)


def is_loopback(url: str | None) -> bool:
    try:
        host = urlsplit(url or "").hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@functools.cache
def _tls() -> ssl.SSLContext:
    """One for all calls: loading the certificates takes longer than a small call."""
    import httpx2

    return httpx2.create_ssl_context()


def _shut_down(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):  # closed already
        # The plain socket's method: the TLS one would unwrap first, from the wrong thread.
        socket.socket.shutdown(connection, socket.SHUT_RDWR)
