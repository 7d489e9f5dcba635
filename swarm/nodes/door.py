"""One question and its answer over HTTP, signed with a key that both sides have and that never travels.

A request carries a fresh nonce and HMAC-SHA256 of key, nonce, name and body; the answer is signed with the same nonce.
Whoever listens cannot speak for a node or for the driver, and cannot send an old request again. He can read: the bodies
are not encrypted. On a network of others, put the door behind a tunnel.
"""

import contextlib
import hashlib
import hmac
import http.client
import secrets
import threading
from collections import deque
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from swarm.errors import NodeError

MAX_BODY_BYTES = 64 << 20
TIMEOUT_S = 10.0
NONCES_KEPT = 100_000

Handle = Callable[[str, bytes], bytes]
"""(name of the question, body) -> answer. Raises ValueError for a question that makes no sense."""


def new_key() -> str:
    return secrets.token_hex(32)


def _mark(key: str, nonce: str, name: str, body: bytes) -> str:
    digest = hmac.new(key.encode(), f"{nonce}\0{name}\0".encode(), hashlib.sha256)
    digest.update(body)
    return digest.hexdigest()


class Door:
    """The driver's side: answers on a port of its own until it is closed."""

    def __init__(self, handle: Handle, key: str, host: str, port: int) -> None:
        """Port 0 takes any that is free. Raises NodeError when the port is taken."""
        nonces = _Nonces()

        class Answering(BaseHTTPRequestHandler):
            timeout = TIMEOUT_S

            def do_POST(self) -> None:
                name, nonce = self.path.lstrip("/"), self.headers.get("X-Swarm-Nonce", "")
                length = self.headers.get("Content-Length", "")
                if not length.isdigit() or int(length) > MAX_BODY_BYTES:
                    return self._say(413, b"", nonce)
                body = self.rfile.read(int(length))
                marked = self.headers.get("X-Swarm-Mark", "")
                if not hmac.compare_digest(marked, _mark(key, nonce, name, body)) or not nonces.fresh(nonce):
                    return self._say(403, b"", nonce)
                try:
                    return self._say(200, handle(name, body), nonce)
                except ValueError as error:
                    return self._say(400, str(error).encode(), nonce)

            def _say(self, status: int, body: bytes, nonce: str) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("X-Swarm-Mark", _mark(key, nonce, str(status), body))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is http.server's
                """Nothing: the brain is the log."""

        try:
            self._server = ThreadingHTTPServer((host, port), Answering)
        except OSError as error:
            raise NodeError(f"cannot listen for nodes on {host}:{port}: {error.strerror}") from None
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.2,), name="door", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class Caller:
    """The other side. Each question has a connection of its own, so that nothing has to be mended."""

    def __init__(self, host: str, port: int, key: str, timeout_s: float = TIMEOUT_S) -> None:
        self._host, self._port, self._key, self._timeout_s = host, port, key, timeout_s

    def __call__(self, name: str, body: bytes) -> bytes:
        """Raises NodeError when nobody answers, and when the answer is not the driver's."""
        nonce = secrets.token_hex(16)
        headers = {"X-Swarm-Nonce": nonce, "X-Swarm-Mark": _mark(self._key, nonce, name, body)}
        try:
            with contextlib.closing(
                http.client.HTTPConnection(self._host, self._port, timeout=self._timeout_s)
            ) as line:
                line.request("POST", f"/{name}", body, headers)
                answer = line.getresponse()
                said = answer.read(MAX_BODY_BYTES)
        except (OSError, http.client.HTTPException) as error:
            raise NodeError(f"nobody answers on {self._host}:{self._port}: {error or type(error).__name__}") from None
        marked = answer.headers.get("X-Swarm-Mark", "")
        if not hmac.compare_digest(marked, _mark(self._key, nonce, str(answer.status), said)):
            raise NodeError(f"who answers on {self._host}:{self._port} does not have this study's key")
        if answer.status != 200:
            why = said.decode(errors="replace") or "the key is another"
            raise NodeError(f"{self._host}:{self._port} refuses {name}: {why}")
        return said


class _Nonces:
    """Those that were used, the latest ones."""

    def __init__(self) -> None:
        self._seen: set[str] = set()
        self._order: deque[str] = deque()
        self._lock = threading.Lock()

    def fresh(self, nonce: str) -> bool:
        with self._lock:
            if nonce in self._seen or len(nonce) != 32:
                return False
            self._seen.add(nonce)
            self._order.append(nonce)
            if len(self._order) > NONCES_KEPT:
                self._seen.discard(self._order.popleft())
            return True
