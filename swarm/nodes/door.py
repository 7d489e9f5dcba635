"""One question and its answer over HTTP, signed with a key that both sides have and that never travels.

A request carries who asks, a fresh nonce, the door's epoch, the digest of its body, and HMAC-SHA256 over all of these;
the answer is signed with the same nonce. Of a request without the right mark not one byte of the body is read. Whoever
listens cannot speak for a node or for the driver, and cannot send an old request again: nonces of the last two epochs
are remembered, and a request of an older one, or of an earlier door, is refused. No clocks are compared. He can read:
the bodies are not encrypted. On a network of others, put the door behind a tunnel.

Not promised: an answer to anybody while somebody floods the port. A request has REQUEST_LIMIT_S from its first byte to
its last, and there are LINES of them at a time.
"""

import contextlib
import hashlib
import hmac
import http.client
import io
import secrets
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from swarm.errors import NodeError

MAX_BODY_BYTES = 64 << 20
TIMEOUT_S = 10.0
REQUEST_LIMIT_S = 20.0
LINES = 512  # open at a time; one more is closed at once, and asks again
NONCES_OF_AN_EPOCH = 50_000
STALE_EPOCH = 409

Handle = Callable[[str, str, bytes], bytes]
"""(who asks, name of the question, body) -> answer. Raises ValueError for a question that makes no sense,
or that is not for whoever asks."""


def new_key() -> str:
    return secrets.token_hex(32)


def mark_of(key: str, *parts: str) -> str:
    return hmac.new(key.encode(), "\0".join(parts).encode(), hashlib.sha256).hexdigest()


def digest_of(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


class Door:
    """The driver's side: answers on a port of its own until it is closed. `keys`: of each who may ask, by name."""

    def __init__(self, handle: Handle, keys: Mapping[str, str], host: str, port: int) -> None:
        """Port 0 takes any that is free. Raises NodeError when the port is taken."""
        once = _Once()

        class Answering(BaseHTTPRequestHandler):
            def setup(self) -> None:
                super().setup()
                self.rfile = io.BufferedReader(_UntilDeadline(self.connection))

            def do_POST(self) -> None:
                asked = _asked_by(self.path, self.headers)
                key = keys.get(asked.who, "")
                refused = once.refusal(asked, key)
                status, said = refused if refused is not None else self._answered(asked)
                self._say(status, said, asked.nonce, key if asked.is_marked(key) else "")

            def _answered(self, asked: "_Asked") -> tuple[int, bytes]:
                body = self.rfile.read(int(asked.length))
                if digest_of(body) != asked.digest:
                    return 403, b""
                try:
                    return 200, handle(asked.who, asked.name, body)
                except ValueError as error:
                    return 400, str(error).encode()

            def _say(self, status: int, body: bytes, nonce: str, key: str) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("X-Swarm-Mark", mark_of(key, nonce, str(status), digest_of(body)) if key else "")
                self.end_headers()
                self.connection.settimeout(TIMEOUT_S)
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is http.server's
                """Nothing: the brain is the log."""

        try:
            self._server = _Server((host, port), Answering)
        except OSError as error:
            raise NodeError(f"cannot listen for nodes on {host}:{port}: {error.strerror}") from None
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.2,), name="door", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class Caller:
    """The other side. Each question has a connection of its own, so that nothing has to be mended."""

    def __init__(self, host: str, port: int, who: str, key: str, timeout_s: float = TIMEOUT_S) -> None:
        self._host, self._port, self._who, self._key, self._timeout_s = host, port, who, key, timeout_s
        self._epoch = ""

    def __call__(self, name: str, body: bytes) -> bytes:
        """Raises NodeError when nobody answers, and when the answer is not the driver's."""
        status, said = self._asked(name, body)
        if status == STALE_EPOCH:
            self._epoch = said.decode(errors="replace")
            status, said = self._asked(name, body)
        if status != 200:
            why = said.decode(errors="replace") or "it was asked before"
            raise NodeError(f"{self._host}:{self._port} refuses {name}: {why}")
        return said

    def _asked(self, name: str, body: bytes) -> tuple[int, bytes]:
        nonce, digest = secrets.token_hex(16), digest_of(body)
        signed = (self._who, nonce, self._epoch, name, str(len(body)), digest)
        headers = {
            "X-Swarm-As": self._who,
            "X-Swarm-Nonce": nonce,
            "X-Swarm-Epoch": self._epoch,
            "X-Swarm-Digest": digest,
            "X-Swarm-Mark": mark_of(self._key, *signed),
        }
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
        if not hmac.compare_digest(marked, mark_of(self._key, nonce, str(answer.status), digest_of(said))):
            raise NodeError(f"who answers on {self._host}:{self._port} does not have this study's key")
        return answer.status, said


class _Server(ThreadingHTTPServer):
    """With a bound on the threads, and room for the nodes that knock at the same moment."""

    daemon_threads = True
    request_queue_size = LINES

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self._lines = threading.BoundedSemaphore(LINES)
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._lines.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._lines.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Whoever asked gets no answer and asks again; a traceback on the terminal of a study helps nobody."""


class _UntilDeadline(io.RawIOBase):
    """Bytes of one connection, which end REQUEST_LIMIT_S after it was opened however slowly they drip."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._until = time.monotonic() + REQUEST_LIMIT_S

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._connection.settimeout(max(0.001, min(TIMEOUT_S, self._until - time.monotonic())))
        return self._connection.recv_into(buffer)


@dataclass(frozen=True)
class _Asked:
    """The head of a request: all of it is signed."""

    who: str
    nonce: str
    epoch: str
    name: str
    length: str
    digest: str
    mark: str

    def is_marked(self, key: str) -> bool:
        signed = mark_of(key, self.who, self.nonce, self.epoch, self.name, self.length, self.digest)
        return bool(key) and hmac.compare_digest(self.mark.encode(), signed.encode())


def _asked_by(path: str, headers: Message) -> _Asked:
    who, nonce, epoch, digest, mark = (
        headers.get(f"X-Swarm-{part}", "") for part in ("As", "Nonce", "Epoch", "Digest", "Mark")
    )
    return _Asked(who, nonce, epoch, path.lstrip("/"), headers.get("Content-Length", ""), digest, mark)


class _Once:
    """Which nonces were used. An epoch ends after so many, and the one before the last is forgotten with them."""

    def __init__(self) -> None:
        self.epoch = secrets.token_hex(8)
        self._used: dict[str, set[str]] = {self.epoch: set()}
        self._heard = 0  # in this epoch, by whatever epoch the askers know
        self._lock = threading.Lock()

    def refusal(self, asked: _Asked, key: str) -> tuple[int, bytes] | None:
        """Status and text for a request that is not to be heard; None uses up its nonce."""
        if not asked.is_marked(key):
            return 403, b""
        if not (asked.length.isascii() and asked.length.isdigit()) or int(asked.length) > MAX_BODY_BYTES:
            return 413, f"more than {MAX_BODY_BYTES} bytes".encode()
        with self._lock:
            known = asked.epoch in self._used
        if not known:
            return STALE_EPOCH, self.epoch.encode()
        return None if self._fresh(asked.epoch, asked.nonce) else (403, b"")

    def _fresh(self, epoch: str, nonce: str) -> bool:
        with self._lock:
            used = self._used.get(epoch)
            if used is None or nonce in used or len(nonce) != 32:
                return False
            used.add(nonce)
            self._heard += 1
            if self._heard >= NONCES_OF_AN_EPOCH:
                self._used = {self.epoch: self._used[self.epoch]}
                self.epoch, self._heard = secrets.token_hex(8), 0
                self._used[self.epoch] = set()
            return True
