"""A provider that only hears what pods ask of it for themselves, over real HTTP on loopback."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class FakeProvider:
    """`statuses` are given one after the other, the last one for ever. `asked` has a line for each request."""

    url: str = ""
    statuses: list[int] = field(default_factory=lambda: [204])
    asked: list[str] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)


@contextmanager
def fake_provider(*statuses: int, host: str = "127.0.0.1") -> Iterator[FakeProvider]:
    provider = FakeProvider(statuses=list(statuses) or [204])

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            provider.asked.append(f"{self.command} {self.path} {body}".strip())
            provider.keys.append(self.headers.get("Authorization", ""))
            status = provider.statuses[0] if len(provider.statuses) == 1 else provider.statuses.pop(0)
            self.send_response(status)
            if status in (301, 302, 307):
                self.send_header("Location", f"{provider.url}/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_DELETE = do_POST = do_GET = _answer  # noqa: N815 - the names of http.server

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer((host, 0), Handler)
    provider.url = f"http://{host}:{server.server_address[1]}/v2"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
