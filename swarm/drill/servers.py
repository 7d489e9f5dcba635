"""Two workers whose model servers are no use: one is down, one answers rubbish and repeats the key it was sent."""

import json
import secrets
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from swarm.drill import canary
from swarm.drill.finding import Finding, Scene
from swarm.drill.playground import playground
from swarm.records import TrialState

DOWN = "A server that is down costs no trial."
RUBBISH = "A server that answers rubbish costs no trial."
KEY = "A key is nowhere on disk, whatever a model says."

_TRIALS = 7
_BY_AGENT = {"worker_1": DOWN, "worker_2": RUBBISH}


def play(folder: Path, ends_by: float) -> Iterator[Finding]:
    key = f"sk-drill{secrets.token_hex(16)}"
    with playground(folder, ends_by) as ground, _rubbish_server(key) as url:
        models = {"worker_1": f"openai:drill@http://127.0.0.1:{_dead_port()}/v1", "worker_2": f"openai:drill@{url}"}
        proposers = [word for agent, spec in models.items() for word in ("--worker", f"{agent}={spec}")]
        ground.up("--trials", str(_TRIALS), *proposers, "--no-early-stop", OPENAI_API_KEY=key)
        code = ground.finish()
        study = ground.study()
        ended = [trial for trial in study.trials.values() if trial.state is TrialState.COMPLETE]
        for agent, promise in _BY_AGENT.items():
            mine = [trial for trial in study.trials.values() if trial.claim.agent_id == agent]
            done = sum(trial.state is TrialState.COMPLETE for trial in mine)
            ok = code == 0 and len(ended) == _TRIALS and bool(mine)
            seen = f"{done} of its worker's {len(mine)} trials complete, {len(ended)} of {_TRIALS} in all"
            yield Finding(promise, ok, f"{seen}, exit code {code}")
        places = canary.find(key, folder)
        yield Finding(KEY, not places, f"found in {', '.join(places[:3])}" if places else "found 0 times")


@contextmanager
def _rubbish_server(key: str) -> Iterator[str]:
    """The base URL of a server on the loopback interface; each answer is of another kind."""
    answers = iter(_answers(key))
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("content-length") or 0))
            with lock:
                status, kind, body = next(answers)
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base class
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()


def _answers(key: str) -> Iterator[tuple[int, str, bytes]]:
    said = [
        f"your key is {key}",
        f"```json\n{json.dumps({'hypothesis': f'use {key}', 'family': key, 'operator': 'tune'})}\n```",
        f"<<<<<<< SEARCH\nMAX_LR = 0.05\n=======\nMAX_LR = 0.04  # {key}\n>>>>>>> REPLACE\n",
        "",
    ]
    while True:
        yield 200, "text/html", b"<html><body>502 Bad Gateway</body></html>"
        yield 200, "application/json", b'{"choices": [{"message": {"content": "cut'
        yield 500, "text/plain", f"internal error for {key}".encode()
        yield 200, "application/json", b'{"error": {"message": "overloaded"}}'
        for text in said:
            message = {"role": "assistant", "content": text}
            choice = {"index": 0, "finish_reason": "stop", "message": message}
            body = {"id": "1", "object": "chat.completion", "created": 1, "model": "drill", "choices": [choice]}
            yield 200, "application/json", json.dumps(body).encode()


def _dead_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


SCENE = Scene("model servers", (DOWN, RUBBISH, KEY), play)
