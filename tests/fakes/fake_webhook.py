"""A web server on loopback that takes notices, and misbehaves when told to. Not a real service."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class FakeWebhook:
    """`faults`: what the next requests get, one after the other: a status, or "hang" until `release`. Then 200."""

    url: str = ""
    faults: list[int | str] = field(default_factory=list)
    got: list[dict[str, Any]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    release: threading.Event = field(default_factory=threading.Event)
    arrived: threading.Condition = field(default_factory=threading.Condition)

    def wait_for(self, count: int, seconds: float = 10.0) -> bool:
        with self.arrived:
            return self.arrived.wait_for(lambda: len(self.got) >= count, seconds)


@contextmanager
def fake_webhook(*faults: int | str, path: str = "/services/T0/secret-token-8f3") -> Iterator[FakeWebhook]:
    hook = FakeWebhook(faults=list(faults))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            with hook.arrived:
                hook.paths.append(self.path)
                hook.headers.append(dict(self.headers))
                fault = hook.faults.pop(0) if hook.faults else 200
                if fault == 200:
                    hook.got.append(json.loads(body))
                hook.arrived.notify_all()
            if fault == "hang":
                hook.release.wait(30)
                return
            self.send_response(int(fault))
            if fault == 302:
                self.send_header("Location", f"{hook.url}/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def do_GET(self) -> None:
            hook.paths.append(f"GET {self.path}")
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hook.url = f"http://127.0.0.1:{server.server_address[1]}{path}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield hook
    finally:
        hook.release.set()
        server.shutdown()
        server.server_close()
        thread.join()
