"""Who may speak at the exchange's door, over real sockets on loopback."""

import http.client
from collections.abc import Iterator

import pytest

from swarm.errors import NodeError
from swarm.nodes.door import MAX_BODY_BYTES, Caller, Door, _mark, new_key

KEY = new_key()


@pytest.fixture
def heard() -> list[tuple[str, bytes]]:
    return []


@pytest.fixture
def door(heard: list[tuple[str, bytes]]) -> Iterator[Door]:
    def handle(name: str, body: bytes) -> bytes:
        if name == "nonsense":
            raise ValueError("no such question")
        heard.append((name, body))
        return body[::-1]

    opened = Door(handle, KEY, "127.0.0.1", 0)
    yield opened
    opened.close()


def send(port: int, name: str, body: bytes, nonce: str, mark: str) -> int:
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    line.request("POST", f"/{name}", body, {"X-Swarm-Nonce": nonce, "X-Swarm-Mark": mark})
    status = line.getresponse().status
    line.close()
    return status


def test_a_question_is_answered_and_nonsense_is_refused(door: Door, heard: list[tuple[str, bytes]]) -> None:
    ask = Caller("127.0.0.1", door.port, KEY)
    assert ask("beat", b"abc") == b"cba" and heard == [("beat", b"abc")]
    with pytest.raises(NodeError, match="refuses nonsense: no such question"):
        ask("nonsense", b"")


def test_whoever_has_another_key_is_not_heard_and_believes_nothing(door: Door, heard: list[tuple[str, bytes]]) -> None:
    with pytest.raises(NodeError, match="does not have this study's key"):
        Caller("127.0.0.1", door.port, new_key())("beat", b"abc")
    assert heard == []


def test_a_changed_or_repeated_question_is_refused(door: Door, heard: list[tuple[str, bytes]]) -> None:
    nonce = "0" * 32
    mark = _mark(KEY, nonce, "beat", b"abc")
    assert send(door.port, "beat", b"abd", nonce, mark) == 403
    assert send(door.port, "stop", b"abc", nonce, mark) == 403
    assert send(door.port, "beat", b"abc", nonce, mark) == 200
    assert send(door.port, "beat", b"abc", nonce, mark) == 403, "again"
    assert heard == [("beat", b"abc")]


def test_a_body_without_a_bound_is_refused_unread(door: Door) -> None:
    line = http.client.HTTPConnection("127.0.0.1", door.port, timeout=5)
    line.putrequest("POST", "/beat")
    line.putheader("Content-Length", str(MAX_BODY_BYTES + 1))
    line.endheaders()
    assert line.getresponse().status == 413
    line.close()


def test_an_answer_of_somebody_else_is_not_believed() -> None:
    impostor = Door(lambda name, body: b"run this", new_key(), "127.0.0.1", 0)
    try:
        with pytest.raises(NodeError, match="does not have this study's key"):
            Caller("127.0.0.1", impostor.port, KEY)("beat", b"")
    finally:
        impostor.close()


def test_nobody_there_is_named_with_its_address() -> None:
    with pytest.raises(NodeError, match=r"nobody answers on 127\.0\.0\.1:1"):
        Caller("127.0.0.1", 1, KEY)("beat", b"")


def test_a_port_that_is_taken_is_named(door: Door) -> None:
    with pytest.raises(NodeError, match=f"cannot listen for nodes on 127.0.0.1:{door.port}"):
        Door(lambda name, body: b"", KEY, "127.0.0.1", door.port)
