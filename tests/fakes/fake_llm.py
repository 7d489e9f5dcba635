"""A fake Chat Completions server on the loopback interface: real sockets, scripted answers and faults.

    with FakeLLM([tune_a_constant]) as server:
        OpenAIProposer(model="fake", base_url=server.url, key="sk-...")

Each request takes the next entry of the script; the last one repeats. An entry is a text, a fault, or a function of the
request that gives one of these. As a program it serves real edits for ever: `python tests/fakes/fake_llm.py` prints its
base URL.
"""

import contextlib
import json
import re
import socket
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Request:
    path: str
    headers: Mapping[str, str]  # names in lower case
    body: dict[str, Any]

    @property
    def prompt(self) -> str:
        return "\n".join(str(message["content"]) for message in self.body["messages"])


@dataclass(frozen=True)
class Raw:
    """Any response, byte for byte. `promised` more bytes are announced than sent."""

    body: str = ""
    status: int = 200
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    promised: int = 0


@dataclass(frozen=True)
class Stall:
    """Says nothing until the server closes; or, with `trickle`, one blank byte every few milliseconds."""

    trickle: bool = False


@dataclass(frozen=True)
class Drop:
    """Closes the connection without a word."""


Answer = str | Raw | Stall | Drop
Step = Answer | Callable[[Request], Answer]

USAGE = {"prompt_tokens": 1000, "completion_tokens": 200, "total_tokens": 1200}


def completion(text: object, *, usage: object = USAGE, finish: str = "stop", **message: object) -> Raw:
    """A well-formed body around any content."""
    choice = {"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": text, **message}}
    body = {"id": "c1", "object": "chat.completion", "created": 1, "model": "fake-1", "choices": [choice]}
    return Raw(json.dumps({**body, "usage": usage}))


def envelope(search: str, replace: str, **header: object) -> str:
    said = {"hypothesis": "a test", "family": "schedule", "operator": "tune", "cites": [], "expects": -0.01}
    return (
        f"```json\n{json.dumps({**said, **header})}\n```\n\n"
        f"<<<<<<< SEARCH\n{search}\n=======\n{replace}\n>>>>>>> REPLACE\n"
    )


def tune_a_constant(request: Request) -> str:
    """A real edit of the program in the prompt: one declared number, other in each request, times 1.3."""
    prompt = request.prompt
    declared = re.findall(r"(?m)^([A-Z][A-Z0-9_]*) = ([0-9.e+-]+)( *# search: (?:log|linear)\(.*)$", prompt)
    name, value, rest = declared[len(prompt) % len(declared)]
    known = re.findall(r'"id": "(t\d+)"', prompt)
    new = f"{float(value) * 1.3 or 0.05:.6g}"
    return envelope(
        f"{name} = {value}{rest}", f"{name} = {new}{rest}", hypothesis=f"{name} {value} -> {new}", cites=known[-2:]
    )


class FakeLLM:
    """`requests` holds everything that arrived, in its order."""

    def __init__(self, script: Sequence[Step], *, port: int = 0) -> None:
        self.requests: list[Request] = []
        self._script = list(script)
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._server = _Server(("127.0.0.1", port), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    def __enter__(self) -> "FakeLLM":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _next(self, request: Request) -> Answer:
        with self._lock:
            self.requests.append(request)
            step = self._script.pop(0) if len(self._script) > 1 else self._script[0]
        return step(request) if callable(step) else step

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                headers = {name.lower(): value for name, value in self.headers.items()}
                answer = fake._next(Request(self.path, headers, body))
                if isinstance(answer, str):
                    answer = completion(answer)
                with contextlib.suppress(OSError):  # the client gave up, as it should
                    _send(self, answer, fake._closing)

            def log_message(self, *args: object) -> None:
                pass

        return Handler


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:
        pass


def _send(handler: BaseHTTPRequestHandler, answer: Answer, closing: threading.Event) -> None:
    match answer:
        case Stall(trickle):
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nx-pad: " if trickle else b"")
            while not closing.wait(0.01):
                handler.wfile.write(b"." if trickle else b"")
        case Drop():
            handler.connection.shutdown(socket.SHUT_RDWR)
        case Raw(body, status, content_type, headers, promised):
            payload = body.encode()
            handler.send_response(status)
            for name, value in {"content-type": content_type, **headers}.items():
                handler.send_header(name, value)
            handler.send_header("content-length", str(len(payload) + promised))
            handler.end_headers()
            handler.wfile.write(payload)
    handler.close_connection = True


if __name__ == "__main__":
    with FakeLLM([tune_a_constant], port=int(sys.argv[1]) if len(sys.argv) > 1 else 0) as server:
        print(server.url, flush=True)
        threading.Event().wait()
