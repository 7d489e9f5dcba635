"""Who may speak at the exchange's door, over real sockets on loopback."""

import http.client
import socket
import time
from collections.abc import Iterator

import pytest

from swarm.errors import NodeError
from swarm.nodes import door as doors
from swarm.nodes.door import MAX_BODY_BYTES, Caller, Door, digest_of, mark_of, new_key

KEY = new_key()


@pytest.fixture
def heard() -> list[tuple[str, bytes]]:
    return []


@pytest.fixture
def door(heard: list[tuple[str, bytes]]) -> Iterator[Door]:
    def handle(who: str, name: str, body: bytes) -> bytes:
        if name == "nonsense":
            raise ValueError("no such question")
        if name == "breaks":
            raise OSError("no room")
        heard.append((name, body))
        return body[::-1]

    opened = Door(handle, {"node": KEY}, "127.0.0.1", 0)
    yield opened
    opened.close()


def epoch_of(port: int) -> str:
    """As the door says it to whoever has the key."""
    caller = Caller("127.0.0.1", port, "node", KEY)
    caller("beat", b"epoch")
    return caller._epoch


def signed(name: str, body: bytes, nonce: str, epoch: str, key: str = KEY, who: str = "node") -> dict[str, str]:
    digest = digest_of(body)
    return {
        "X-Swarm-As": who,
        "X-Swarm-Nonce": nonce,
        "X-Swarm-Epoch": epoch,
        "X-Swarm-Digest": digest,
        "X-Swarm-Mark": mark_of(key, who, nonce, epoch, name, str(len(body)), digest),
    }


def send(port: int, name: str, body: bytes, headers: dict[str, str]) -> int:
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    line.request("POST", f"/{name}", body, headers)
    status = line.getresponse().status
    line.close()
    return status


def test_a_question_is_answered_and_nonsense_is_refused(door: Door, heard: list[tuple[str, bytes]]) -> None:
    ask = Caller("127.0.0.1", door.port, "node", KEY)
    assert ask("beat", b"abc") == b"cba" and heard == [("beat", b"abc")]
    with pytest.raises(NodeError, match="refuses nonsense: no such question"):
        ask("nonsense", b"")


def test_whoever_has_another_key_is_not_heard_and_believes_nothing(door: Door, heard: list[tuple[str, bytes]]) -> None:
    with pytest.raises(NodeError, match="does not have this study's key"):
        Caller("127.0.0.1", door.port, "node", new_key())("beat", b"abc")
    assert heard == []


def test_a_changed_or_repeated_question_is_refused(door: Door, heard: list[tuple[str, bytes]]) -> None:
    epoch = epoch_of(door.port)
    right = signed("beat", b"abc", "0" * 32, epoch)
    heard.clear()
    assert send(door.port, "beat", b"abcd", right) == 403
    assert send(door.port, "stop", b"abc", right) == 403
    assert send(door.port, "beat", b"abc", {**right, "X-Swarm-As": "driver"}) == 403
    assert send(door.port, "beat", b"abc", {**right, "X-Swarm-Nonce": "1" * 32}) == 403
    assert heard == []
    assert send(door.port, "beat", b"abc", right) == 200
    assert send(door.port, "beat", b"abc", right) == 403, "again"
    assert send(door.port, "beat", b"abd", signed("beat", b"abc", "2" * 32, epoch)) == 403, "another body"
    assert heard == [("beat", b"abc")]


def test_what_was_recorded_long_ago_or_before_a_restart_is_not_heard_again(
    door: Door, heard: list[tuple[str, bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nonces are kept for two epochs and not for ever; what is older is refused by its epoch."""
    monkeypatch.setattr(doors, "NONCES_OF_AN_EPOCH", 3)
    ask = Caller("127.0.0.1", door.port, "node", KEY)
    old = signed("beat", b"old", "0" * 32, epoch_of(door.port))
    assert send(door.port, "beat", b"old", old) == 200
    for number in range(10):
        assert ask("beat", b"%d" % number) == b"%d" % number, "and whoever is alive learns of the new one"
    assert send(door.port, "beat", b"old", old) == 409
    again = Door(lambda who, name, body: body, {"node": KEY}, "127.0.0.1", 0)
    try:
        recorded = signed("beat", b"x", "3" * 32, ask._epoch)
        assert send(again.port, "beat", b"x", recorded) == 409
        assert Caller("127.0.0.1", again.port, "node", KEY)("beat", b"x") == b"x"
    finally:
        again.close()


def test_a_body_without_a_bound_is_refused_unread(door: Door) -> None:
    line = http.client.HTTPConnection("127.0.0.1", door.port, timeout=5)
    length = str(MAX_BODY_BYTES + 1)
    line.putrequest("POST", "/beat")
    for name, value in {
        "X-Swarm-As": "node",
        "Content-Length": length,
        "X-Swarm-Mark": mark_of(KEY, "node", "", "", "beat", length, ""),
    }.items():
        line.putheader(name, value)
    line.endheaders()
    assert line.getresponse().status == 413
    line.close()


def test_of_a_stranger_no_body_is_read(door: Door) -> None:
    """He is answered before he has sent a byte of the 60 MB that he announces."""
    line = http.client.HTTPConnection("127.0.0.1", door.port, timeout=5)
    line.putrequest("POST", "/beat")
    line.putheader("Content-Length", "60000000")
    line.endheaders()
    assert line.getresponse().status == 403
    line.close()


def test_a_line_that_drips_is_closed_and_those_that_hang_leave_room(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doors, "REQUEST_LIMIT_S", 0.3)
    hanging = [socket.create_connection(("127.0.0.1", door.port)) for _ in range(20)]
    assert Caller("127.0.0.1", door.port, "node", KEY)("beat", b"abc") == b"cba"
    with socket.create_connection(("127.0.0.1", door.port)) as drips:
        drips.settimeout(5)
        with pytest.raises(OSError):
            for _ in range(100):
                drips.sendall(b"P")
                time.sleep(0.02)
            raise AssertionError("it may drip for ever")
    for one in hanging:
        one.settimeout(5)
        assert one.recv(1) == b"", "closed"
        one.close()


def test_there_is_a_bound_on_open_lines(heard: list[tuple[str, bytes]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doors, "LINES", 3)
    monkeypatch.setattr(doors, "REQUEST_LIMIT_S", 0.5)
    narrow = Door(lambda who, name, body: body, {"node": KEY}, "127.0.0.1", 0)
    try:
        hanging = [socket.create_connection(("127.0.0.1", narrow.port)) for _ in range(3)]
        time.sleep(0.1)
        with pytest.raises(NodeError):
            Caller("127.0.0.1", narrow.port, "node", KEY)("beat", b"abc")
        for one in hanging:
            one.close()
        time.sleep(0.1)
        assert Caller("127.0.0.1", narrow.port, "node", KEY)("beat", b"abc") == b"abc"
    finally:
        narrow.close()


def test_what_breaks_the_driver_s_side_is_no_answer(door: Door, capfd: pytest.CaptureFixture[str]) -> None:
    """A full disk, say. Nothing is printed over a person's terminal."""
    with pytest.raises(NodeError, match="nobody answers"):
        Caller("127.0.0.1", door.port, "node", KEY)("breaks", b"")
    assert capfd.readouterr() == ("", "")


def test_an_answer_of_somebody_else_is_not_believed() -> None:
    impostor = Door(lambda who, name, body: b"run this", {"node": new_key()}, "127.0.0.1", 0)
    try:
        with pytest.raises(NodeError, match="does not have this study's key"):
            Caller("127.0.0.1", impostor.port, "node", KEY)("beat", b"")
    finally:
        impostor.close()


def test_nobody_there_is_named_with_its_address() -> None:
    with pytest.raises(NodeError, match=r"nobody answers on 127\.0\.0\.1:1"):
        Caller("127.0.0.1", 1, "node", KEY)("beat", b"")


def test_a_port_that_is_taken_is_named(door: Door) -> None:
    with pytest.raises(NodeError, match=f"cannot listen for nodes on 127.0.0.1:{door.port}"):
        Door(lambda who, name, body: b"", {"node": KEY}, "127.0.0.1", door.port)
