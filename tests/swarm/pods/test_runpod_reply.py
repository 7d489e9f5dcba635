"""What a server answers is read with limits, by a real client from a real server."""

import gzip
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from fakes.fake_clock import FakeClock
from fakes.pod_cloud import KEY, order

from swarm.pods.provider import Pod, PodState, ReplyLost, Unreachable
from swarm.pods.runpod import RunpodPods, reply

LIST = b'{"pods": [{"id": "1", "name": "swarm-a", "status": "RUNNING"}]}'


@contextmanager
def answering(body: list[bytes] | bytes, coding: str | None = None) -> Iterator[RunpodPods]:
    """A client whose server says the same to everything."""
    sent: list[int] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            if coding is not None:
                self.send_header("Content-Encoding", coding)
            self.end_headers()
            for piece in [body] if isinstance(body, bytes) else body:
                try:
                    self.wfile.write(piece)
                except OSError:
                    return
                sent.append(len(piece))

        do_POST = do_GET  # noqa: N815 - the name of http.server

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield RunpodPods(KEY, FakeClock(), f"http://127.0.0.1:{server.server_port}/v2")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert sum(sent) < 64 * reply.MAX_BODY_BYTES, "it read on and on"  # buffers of each retry hold some megabytes


def endless(piece: bytes) -> list[bytes]:
    return [piece] * (16 * reply.MAX_BODY_BYTES // len(piece))


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reply, "MAX_BODY_BYTES", 1 << 20)


@pytest.mark.parametrize(
    ("coding", "body"),
    [(None, LIST), ("identity", LIST), ("gzip", gzip.compress(LIST)), ("deflate", zlib.compress(LIST))],
    ids=["none", "identity", "gzip", "deflate"],
)
def test_a_body_is_read_in_each_coding(coding: str | None, body: bytes) -> None:
    with answering(body, coding) as pods:
        assert pods.list() == [Pod(id="1", name="swarm-a", state=PodState.RUNNING)]


def test_a_body_without_an_end_is_no_answer_and_is_not_read_to_it() -> None:
    with answering(endless(b" " * 65536)) as pods, pytest.raises(Unreachable, match="more than 1048576 bytes"):
        pods.list()
    with answering(endless(b" " * 65536)) as pods, pytest.raises(ReplyLost, match="more than 1048576 bytes"):
        pods.create(order())


def test_a_small_body_that_becomes_a_large_one_is_not_unpacked() -> None:
    packed = gzip.compress(LIST + b" " * (64 << 20))
    assert len(packed) < 1 << 17
    with answering(packed, "gzip") as pods, pytest.raises(Unreachable, match="more than 1048576 bytes"):
        pods.list()
    pieces = list(reply._inflated(iter([packed])))
    assert max(map(len, pieces)) <= 1 << 16


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, gzip", "x\x1b[31m"])
def test_a_coding_that_was_not_asked_for_is_no_answer(coding: str) -> None:
    with answering(LIST, coding) as pods, pytest.raises(Unreachable) as error:
        pods.list()
    assert "\x1b" not in str(error.value)


def test_a_body_that_drips_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reply, "LIMIT_S", -1.0)
    with answering(LIST) as pods, pytest.raises(Unreachable, match="not whole after"):
        pods.list()


def test_a_log_without_a_line_has_an_end() -> None:
    with answering(endless(b"data: " * 10000)) as pods:
        assert list(pods.logs("1")) == []
    with answering(b'data: {"line": "one"}\n\ndata: {"line": "two"}\ndata: {"li') as pods:
        assert list(pods.logs("1")) == ["one", "two"]
