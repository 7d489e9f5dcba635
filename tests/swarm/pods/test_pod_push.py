"""Results through a git remote: pushed from the pod, fetched at home, nothing of another forced away."""

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from factories.records import claim, finished, study_opened
from fakes.fake_clock import FakeClock
from fakes.git_repository import GitRepository, make_repository

from swarm.brain import Brain, verify
from swarm.pods.home import bring_home_from
from swarm.pods.inside.home import Home, write_json
from swarm.pods.inside.push import PushFailed, push
from swarm.records import Operator
from swarm.repo import Repo

STUDY, NAME = "toy-20260101-000000-aaaa", "swarm-toy-1"
TOKEN = "ghp_canary_77aa"


class Bench:
    def __init__(self, folder: Path) -> None:
        self.home_repo = make_repository(folder / "repo")
        self.remote = folder / "remote.git"
        subprocess.run(["git", "init", "-q", "--bare", str(self.remote)], check=True, timeout=30)
        self.pod = Home(folder / "pod")
        self.pod.make()
        subprocess.run(["git", "clone", "-q", str(self.home_repo.root), str(self.pod.repo)], check=True, timeout=30)
        self.repo = GitRepository(self.pod.repo)
        self.brain = Brain(self.pod.brain, clock=FakeClock())
        self.mirror = folder / "rented" / "swarm_brain.jsonl"

    def trial(self, number: int) -> None:
        name = f"t{number:04d}"
        if number == 1:
            self.brain.append(study_opened(study_id=STUDY, id="opened"))
        self.brain.append(
            claim(name, study_id=STUDY, operator=Operator.BASELINE, id=f"{name}/claim"),
            finished(name, 1.0, study_id=STUDY, id=f"{name}/finished"),
        )
        self.repo.write("models/toy/train.py", f"changed {number}\n")
        self.repo.git("update-ref", f"refs/swarm/{STUDY}/{name}", self.repo.commit(name))

    def push(self, url: str | None = None, **environment: str) -> None:
        push(self.pod, url or str(self.remote), NAME, environment)

    def bring(self) -> tuple[int, int, bool]:
        root = self.home_repo.root
        brought = bring_home_from(str(self.remote), NAME, Repo.open(root), root / "swarm_brain.jsonl", self.mirror)
        return brought.records, brought.refs, brought.report

    def at_remote(self) -> str:
        command = ["git", "-C", str(self.remote), "for-each-ref", "--format=%(refname)"]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_results_go_to_a_remote_and_come_home_from_there(bench: Bench) -> None:
    bench.trial(1)
    before = bench.repo.git("status", "--porcelain"), bench.repo.git("rev-parse", "HEAD")
    bench.push()
    assert (bench.repo.git("status", "--porcelain"), bench.repo.git("rev-parse", "HEAD")) == before
    assert bench.bring() == (3, 1, False)
    bench.push()
    assert bench.bring() == (0, 0, False)
    bench.trial(2)
    write_json(bench.pod.state, {"phase": "done", "at": 0.0})
    bench.push()
    assert bench.bring() == (2, 1, True)
    home = bench.home_repo.root
    assert verify(home / "swarm_brain.jsonl").ok
    assert Repo.open(home).refs(STUDY).keys() == {"t0001", "t0002"}
    assert bench.at_remote().split() == [
        f"refs/heads/swarm-pods/{NAME}", f"refs/swarm/{STUDY}/t0001", f"refs/swarm/{STUDY}/t0002",
    ]  # fmt: skip


def test_half_a_line_is_not_pushed(bench: Bench) -> None:
    bench.trial(1)
    with bench.pod.brain.open("ab") as file:
        file.write(b'{"v":1,"seq":4')
    bench.push()
    assert bench.bring()[0] == 3 and bench.mirror.read_bytes().endswith(b"}\n")


def test_nothing_at_the_remote_is_forced_away(bench: Bench) -> None:
    bench.trial(1)
    bench.push()
    theirs = bench.home_repo.git("rev-parse", "HEAD")
    bench.home_repo.git("push", "-q", "--force", str(bench.remote), f"{theirs}:refs/heads/swarm-pods/{NAME}")
    bench.trial(2)
    with pytest.raises(PushFailed):
        bench.push()
    command = ["git", "-C", str(bench.remote), "rev-parse", f"refs/heads/swarm-pods/{NAME}"]
    assert subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout.strip() == theirs


@pytest.mark.parametrize("url", ["", "--upload-pack=touch x", "ext::touch x"])
def test_an_address_is_no_option_and_no_command(bench: Bench, url: str, tmp_path: Path) -> None:
    bench.trial(1)
    with pytest.raises(PushFailed):
        push(bench.pod, url, NAME, {})
    assert not (bench.pod.repo / "x").exists()


def test_a_token_is_in_a_header_and_nowhere_else(bench: Bench) -> None:
    bench.trial(1)
    with listener() as (url, heard), pytest.raises(PushFailed) as failed:
        bench.push(url, SWARM_POD_GIT_TOKEN=TOKEN)
    assert heard and all(header.startswith("Basic ") for header in heard)
    assert TOKEN not in str(failed.value)
    assert [path for path in bench.pod.root.rglob("*") if path.is_file() and TOKEN.encode() in path.read_bytes()] == []


@contextmanager
def listener() -> Iterator[tuple[str, list[str]]]:
    """A remote that refuses everything, and what it was sent as authorization."""
    heard: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            heard.append(self.headers.get("Authorization", ""))
            self.send_error(403)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/x.git", heard
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
