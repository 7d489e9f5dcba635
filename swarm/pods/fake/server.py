"""The fake's HTTP side: paths, statuses and bodies of the API v2, one thread a request."""

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from swarm.pods.fake.cloud import CARDS, FakeCloud, FakePod, Json
from swarm.pods.fake.faults import Fault, Place, What

BODY_KEYS = frozenset(
    {
        *(
            "name",
            "image",
            "gpu",
            "cpu",
            "cloud",
            "dataCenterIds",
            "disk",
            "args",
            "env",
            "ports",
            "mounts",
            "registry",
        ),
        *("startSsh", "startJupyter", "globalNetworking", "templateId"),
    }
)
TICK_S = 0.1
_Step = Callable[[], object]


def _nothing() -> None:
    pass


class FakeServer:
    """`requests` holds what arrived: method, path, body, and whether the key was right (never the key)."""

    def __init__(self, cloud: FakeCloud, key: str, log: Path | None = None) -> None:
        self.cloud = cloud
        self._log = log
        self.requests: list[Json] = []
        self.quiet_since = time.monotonic()
        self.resting = False
        self._key = key
        self._closing = threading.Event()
        self._http = _Server(("127.0.0.1", 0), _handler(self))
        self._threads = [
            threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True),
            threading.Thread(target=self._tick, daemon=True),
        ]
        cloud.url = self.url

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_port}/v2"

    def __enter__(self) -> "FakeServer":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """All pods end with it."""
        self._closing.set()
        self._http.shutdown()
        self._http.server_close()
        for thread in self._threads:
            thread.join()
        for pod in self.cloud.listed():
            self.cloud.machine.end(pod.id)
        self.cloud.settle()

    def allows(self, header: str | None, pod_id: str) -> bool:
        """The account's key, or a pod's own for that pod."""
        pod = self.cloud.pods.get(pod_id)
        return header in {f"Bearer {self._key}"} | ({f"Bearer {pod.key}"} if pod is not None else set())

    def note(self, request: Json) -> None:
        self.requests.append(request)
        if self._log is not None:
            with self._log.open("a", encoding="utf-8") as file:
                file.write(json.dumps(request) + "\n")

    def _tick(self) -> None:
        while not self._closing.wait(TICK_S):
            self.cloud.tick()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is no news."""


def _handler(fake: FakeServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer("GET")

        def do_POST(self) -> None:
            self._answer("POST")

        def do_DELETE(self) -> None:
            self._answer("DELETE")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            pass

        def _answer(self, method: str) -> None:
            parts = urlsplit(self.path)
            steps = [step for step in parts.path.split("/") if step]
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            try:
                body = json.loads(raw) if raw else {}
            except ValueError:
                return self._problem(400, "the body is not JSON")
            pod_id = steps[2] if len(steps) > 2 and steps[1] == "pods" else ""
            allowed = fake.allows(self.headers.get("Authorization"), pod_id)
            fake.quiet_since = time.monotonic()
            fake.note({"method": method, "path": self.path, "body": body, "allowed": allowed})
            if not allowed:
                return self._problem(401, "missing or wrong bearer token")
            fake.cloud.tick()
            match (method, steps[1:]):
                case ("GET", ["catalog", "gpus"]):
                    self._faulty("catalog", None, lambda: self._catalog(parse_qs(parts.query)))
                case ("GET", ["pods"]):
                    pods = [pod.text(fake.cloud.offset_s) for pod in fake.cloud.listed()]
                    self._faulty("list", None, lambda: self._send(200, {"pods": pods}))
                case ("POST", ["pods"]):
                    self._create(body)
                case ("POST", ["rest"]):  # not of the API: the fake's own end
                    fake.resting = not fake.cloud.listed()
                    self._send(200, {"resting": fake.resting})
                case (_, ["pods", _, *rest]):
                    self._one(method, fake.cloud.known(pod_id), rest, body)
                case _:
                    self._problem(404, "no such path")

        def _one(self, method: str, pod: FakePod | None, rest: list[str], body: Json) -> None:
            if pod is None:
                return self._problem(404, "resource not found")
            match (method, rest):
                case ("GET", []):
                    self._faulty("get", None, lambda: self._send(200, pod.text(fake.cloud.offset_s)))
                case ("DELETE", []):
                    self._faulty("delete", None, lambda: self._send(204), lambda: fake.cloud.terminate(pod))
                case ("POST", ["action"]):
                    self._action(pod, str(body.get("action")))
                case ("GET", ["logs"]):
                    self._faulty("logs", None, lambda: self._logs(pod))
                case _:
                    self._problem(405, "the requested method is not allowed for this path")

        def _catalog(self, query: dict[str, list[str]]) -> None:
            if query.get("include") == ["AVAILABILITY"] and "product" not in query:
                return self._problem(400, "include=AVAILABILITY requires product")
            gpus = []
            for card, (secure, community, memory) in CARDS.items():
                price = {"secure": secure, "community": community}
                one = {"id": card, "name": card.removeprefix("NVIDIA GeForce "), "memory": memory, "price": price}
                gpus.append({**one, "secure": True, "community": True, "availability": "HIGH"})
            self._send(200, {"gpus": gpus})

        def _create(self, body: Json) -> None:
            unknown = sorted(body.keys() - BODY_KEYS)
            absent = [name for name in ("name", "image") if not body.get(name)]
            if unknown or absent:
                return self._problem(422, "Request validation failed.", [*unknown, *absent])
            gpu = body.get("gpu")
            card = str(gpu.get("id")) if isinstance(gpu, dict) else ""
            if card not in CARDS or "cpu" in body:
                return self._problem(400, f"there is no card {card!r}")
            secure, community, _ = CARDS[card]
            price = secure if body.get("cloud", "SECURE") == "SECURE" else community
            made: list[FakePod] = []
            self._faulty(
                "create",
                card,
                lambda: self._send(201, made[0].text(fake.cloud.offset_s)),
                lambda: made.append(fake.cloud.create(body, price)),
            )

        def _action(self, pod: FakePod, action: str) -> None:
            if action not in pod.text(0)["actions"]:  # type: ignore[operator]
                return self._problem(409, f"{action} is not possible while {pod.status}")
            does = {"start": fake.cloud.start, "stop": fake.cloud.stop, "terminate": fake.cloud.terminate}.get(action)
            status = 204 if action == "terminate" else 200
            self._faulty(
                "action",
                None,
                lambda: self._send(status, None if status == 204 else pod.text(fake.cloud.offset_s)),
                lambda: does(pod) if does is not None else None,
            )

        def _logs(self, pod: FakePod) -> None:
            lines = [
                json.dumps({"source": "container", "line": line})
                for line in fake.cloud.machine.log(pod.id).splitlines()
            ]
            text = "".join(f"id: {index}\ndata: {line}\n\n" for index, line in enumerate(lines)).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def _faulty(self, place: Place, card: str | None, answer: _Step, does: _Step = _nothing) -> None:
            """Does and answers, with whatever is to go wrong here."""
            fault = fake.cloud.faults.take(place, _ANSWERS, card)
            if fault is None:
                does()
                answer()
                return
            with _ending(self):
                self._wrong(fault, answer, does)

        def _wrong(self, fault: Fault, answer: _Step, does: _Step) -> None:
            match fault.what:
                case "no_capacity":
                    self._problem(400, "there are no instances with the requested specification available")
                case "status" | "done_status":
                    if fault.what == "done_status":
                        does()
                    self._problem(fault.status, "as told", retry_after=fault.retry_after)
                case "drop":
                    raise _Drop
                case "lost_reply":
                    does()
                    raise _Drop
                case "late_reply":
                    does()
                    time.sleep(fault.seconds)
                    answer()

        def _problem(
            self, status: int, detail: str, errors: list[str] | None = None, retry_after: str | None = None
        ) -> None:
            body: Json = {"title": "Problem", "status": status, "detail": detail, "errors": errors or []}
            self._send(status, body, retry_after=retry_after, kind="application/problem+json")

        def _send(
            self,
            status: int,
            body: Json | None = None,
            *,
            retry_after: str | None = None,
            kind: str = "application/json",
        ) -> None:
            raw = b"" if body is None else json.dumps(body).encode()
            self.send_response(status)
            if body is not None:
                self.send_header("Content-Type", kind)
            if retry_after is not None:
                self.send_header("Retry-After", retry_after)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

    return Handler


class _Drop(Exception):
    pass


_ANSWERS: tuple[What, ...] = ("status", "done_status", "no_capacity", "lost_reply", "late_reply", "drop")


@contextlib.contextmanager
def _ending(handler: BaseHTTPRequestHandler) -> Iterator[None]:
    try:
        yield
    except _Drop:
        handler.close_connection = True
        handler.connection.close()
