"""Notices on their way: a real server on loopback that fails, hangs and refuses, and a real command."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from factories.studies import FakeStudy
from fakes.fake_webhook import FakeWebhook, fake_webhook

from swarm.clock import SystemClock
from swarm.notify import delivery, notifier
from swarm.notify.address import parse_address
from swarm.notify.delivery import Command, Sink, Webhook
from swarm.notify.notices import Notice
from swarm.notify.notifier import Notifier
from swarm.records import StudyClosed

SECRET = "secret-token-8f3"
NOTICE = Notice("stopped/9", "stopped", 9, 5.0, "study-1", "swarm tiny: stopped", "time is up; $(touch pwned)", {})


@pytest.fixture(autouse=True)
def in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in {"WAKE_S": 0.02, "REST_S": 0.05, "LAST_REST_S": 0.05, "LAST_WORDS_S": 2.0}.items():
        monkeypatch.setattr(notifier, name, seconds)
    for name, seconds in {"CONNECT_S": 0.3, "TRY_S": 0.5, "COMMAND_S": 0.5}.items():
        monkeypatch.setattr(delivery, name, seconds)


class Telling:
    """A notifier of a study that goes on, as `swarm up` has one."""

    def __init__(self, fake: FakeStudy, path: Path, *sinks: Sink) -> None:
        self.said: list[str] = []
        self.fake = fake
        self.notifier = Notifier(sinks, path / "told.json", SystemClock(), self.said.append)
        self.notifier.start(fake.study)

    def look(self, problem: str | None = None, max_usd: float | None = None) -> None:
        brain = self.fake.brain
        self.notifier.look(self.fake.study, brain.seq, max_usd=max_usd, max_tokens=None, problem=problem)


def measured() -> FakeStudy:
    fake = FakeStudy()
    fake.measure_noise()
    return fake


def webhook(hook: FakeWebhook) -> Webhook:
    return Webhook(parse_address(f"json+{hook.url}"))


@pytest.fixture
def hook() -> Iterator[FakeWebhook]:
    with fake_webhook() as one:
        yield one


def test_a_new_leader_and_the_end_arrive_once_each(tmp_path: Path, hook: FakeWebhook) -> None:
    fake = measured()
    telling = Telling(fake, tmp_path, webhook(hook))
    fake.try_change(loss=2.0)
    telling.look()
    assert hook.wait_for(1)
    telling.look()
    fake.write(StudyClosed(reason="time is up"))
    telling.look()
    telling.notifier.close()
    assert [one["event"] for one in hook.got] == ["leader", "stopped"]
    assert telling.said == []


@pytest.mark.parametrize("fault", [500, 429, 302, "hang"])
def test_what_a_server_does_not_take_arrives_when_it_works_again(tmp_path: Path, fault: int | str) -> None:
    with fake_webhook(fault, fault) as hook:
        fake = measured()
        telling = Telling(fake, tmp_path, webhook(hook))
        fake.try_change(loss=2.0)
        began = time.monotonic()
        telling.look()
        assert time.monotonic() - began < 0.2, "the study waits for nobody"
        assert hook.wait_for(1)
        telling.notifier.close()
        assert len(hook.got) == 1 and len(hook.paths) == 3
        assert not any(path.startswith("GET") or "elsewhere" in path for path in hook.paths), "no redirect is followed"


def test_a_server_that_is_not_there_costs_the_study_two_seconds_at_its_end(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody listens
        sink = Webhook(parse_address(f"http://127.0.0.1:{taken.getsockname()[1]}/{SECRET}"))
        fake = measured()
        telling = Telling(fake, tmp_path, sink)
        fake.write(StudyClosed(reason="time is up"))
        telling.look()
        began = time.monotonic()
        telling.notifier.close()
    assert time.monotonic() - began < 3
    assert any("cannot be reached (ConnectionRefusedError)" in line for line in telling.said)
    assert SECRET not in str(telling.said)


def test_a_server_that_trickles_its_answer_is_given_up() -> None:
    """Each byte comes before the socket's timeout; the answer never ends."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        stop, until = threading.Event(), time.monotonic() + 4

        def trickle() -> None:
            client, _ = server.accept()
            with client:
                client.sendall(b"HTTP/1.1 200 OK\r\nX: ")
                while not stop.wait(0.1) and time.monotonic() < until:
                    try:
                        client.sendall(b"a")
                    except OSError:
                        return

        thread = threading.Thread(target=trickle)
        thread.start()
        began = time.monotonic()
        fault = Webhook(parse_address(f"http://127.0.0.1:{server.getsockname()[1]}/{SECRET}")).deliver(NOTICE)
        stop.set()
        thread.join()
    assert fault == "no answer within 0.5 s" and time.monotonic() - began < 2


def test_after_a_restart_what_was_told_is_not_and_what_was_not_is(tmp_path: Path) -> None:
    fake = measured()
    fake.try_change(loss=2.1)
    with fake_webhook() as hook:
        telling = Telling(fake, tmp_path, webhook(hook))
        telling.look()
        assert hook.wait_for(1)
        telling.notifier.close()
        hook.faults = [500] * 20
        telling = Telling(fake, tmp_path, webhook(hook))
        for loss in (2.0, 1.9):
            fake.try_change(loss=loss)
            telling.look()
        telling.notifier.close()
        assert len(hook.got) == 1
        hook.faults = []
        telling = Telling(fake, tmp_path, webhook(hook))
        telling.look()
        telling.notifier.close()
        assert [one["value"] for one in hook.got] == [2.1, 1.9], "the newest of those that nobody heard of"
        telling = Telling(fake, tmp_path, webhook(hook))
        telling.look()
        telling.notifier.close()
        assert len(hook.got) == 2


def test_what_a_study_had_before_anybody_was_to_be_told_is_not_told(tmp_path: Path, hook: FakeWebhook) -> None:
    fake = measured()
    fake.try_change(loss=2.0)
    fake.write(fake.study.opened)  # it goes on, now with --notify
    telling = Telling(fake, tmp_path, webhook(hook))
    telling.look()
    fake.try_change(loss=1.5)
    telling.look()
    telling.notifier.close()
    assert [one["value"] for one in hook.got] == [1.5]


def test_a_disk_that_fills_again_and_again_is_told_of_once(tmp_path: Path, hook: FakeWebhook) -> None:
    telling = Telling(measured(), tmp_path, webhook(hook))
    for free in range(5):
        telling.look(problem=f"the disk is full: {free} MiB are free")
        telling.look()
    telling.notifier.close()
    assert [one["event"] for one in hook.got] == ["person"]
    assert "the disk is full: 0 MiB" in hook.got[0]["text"]


def test_the_address_is_in_nothing_that_is_written_or_said(tmp_path: Path) -> None:
    with fake_webhook(500, 302, 401) as hook:
        fake = measured()
        sink = Webhook(parse_address(f"json+http://user:hunter2@{hook.url.removeprefix('http://')}?key=other-key"))
        telling = Telling(fake, tmp_path, sink)
        fake.try_change(loss=2.0)
        telling.look()
        assert hook.wait_for(1)
        telling.look()
        telling.notifier.close()
        assert hook.headers[0]["Authorization"] == "Basic dXNlcjpodW50ZXIy"
    written = (
        "".join(path.read_text() for path in tmp_path.rglob("*") if path.is_file()) + str(telling.said) + repr(sink)
    )
    assert "leader/t0006" in written
    for secret in (SECRET, "hunter2", "other-key", "dXNlcjpodW50ZXIy"):
        assert secret not in written


def test_a_command_gets_the_event_on_its_input_and_nothing_of_it_is_run(tmp_path: Path) -> None:
    command = Command(f'cd {tmp_path} && cat > got.json && printf "%s %s" "$SWARM_EVENT" "$SWARM_EVENT_TEXT" > words')
    assert command.deliver(NOTICE) is None
    assert json.loads((tmp_path / "got.json").read_text())["event"] == "stopped"
    assert (tmp_path / "words").read_text() == "stopped time is up; $(touch pwned)"
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize(
    ("text", "fault"),
    [("exit 3", "it ended with exit code 3"), ("sleep 60 & sleep 60", "it had not ended after 0.5 s, and was killed")],
)
def test_a_command_that_fails_or_hangs_is_told_of_and_ended(text: str, fault: str) -> None:
    began = time.monotonic()
    assert Command(text).deliver(NOTICE) == fault
    assert time.monotonic() - began < 5


def test_each_sink_is_told_at_its_own_pace(tmp_path: Path) -> None:
    with fake_webhook(*[500] * 50) as hook:
        fake = measured()
        done = tmp_path / "done"
        telling = Telling(fake, tmp_path, webhook(hook), Command(f"cat >> {done}"))
        fake.try_change(loss=2.0)
        telling.look()
        telling.notifier.close()
    assert done.read_text().count('"event": "leader"') == 1
