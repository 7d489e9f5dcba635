"""A scripted model on the loopback interface, for whichever protocol an agent speaks."""

import contextlib
import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from workers.agent_check import protocols
from workers.agent_check.script import Script

RETRY_AFTER_S = 20


@dataclass(slots=True)
class ScriptedModel:
    """`url` without a path; `asked` counts the requests for an answer."""

    url: str
    asked: list[str] = field(default_factory=list)


@contextmanager
def scripted_model(script: Script) -> Iterator[ScriptedModel]:
    """Listens until it is left; what still hangs is let go of then."""
    closing, lock = threading.Event(), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            path = self.path.partition("?")[0]
            raw = self.rfile.read(int(self.headers.get("content-length") or 0))
            if self.headers.get("content-encoding") == "gzip":
                raw = gzip.decompress(raw)
            try:
                document = json.loads(raw)
            except ValueError:
                document = {}
            asked = protocols.read(path, document)
            if asked is None:
                return self._send(404, protocols.Body("application/json", "{}"))
            with lock:
                model.asked.append(path)
            match script.scene:
                case "hang":
                    closing.wait()
                    self.close_connection = True
                case "401" | "429":
                    self._send(int(script.scene), protocols.refusal(int(script.scene)))
                case _:
                    self._send(200, protocols.write(path, asked, script.next(asked)))

        def do_GET(self) -> None:
            self._send(404, protocols.Body("application/json", "{}"))

        do_HEAD = do_GET  # noqa: N815 - the name that the base class looks for

        def _send(self, status: int, body: protocols.Body) -> None:
            content = body.text.encode()
            with contextlib.suppress(OSError):  # the agent has ended
                self.send_response(status)
                self.send_header("content-type", body.content_type)
                self.send_header("content-length", str(len(content)))
                if status == 429:
                    self.send_header("retry-after", str(RETRY_AFTER_S))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base class
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads, server.block_on_close = True, False
    model = ScriptedModel(f"http://127.0.0.1:{server.server_port}")
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield model
    finally:
        closing.set()
        server.shutdown()
        server.server_close()
