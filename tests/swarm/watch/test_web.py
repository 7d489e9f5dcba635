"""The page's server: a real one on loopback, asked by a plain client."""

import http.client
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from factories.settings import run_settings
from factories.studies import FakeStudy, demo_study, written
from fakes.git_repository import make_repository

from swarm.brain import Brain
from swarm.clock import SystemClock
from swarm.orchestrator.control import Control, only_orchestrator, read_control
from swarm.orchestrator.settings_file import save_settings
from swarm.records import Note
from swarm.report.evidence import Evidence
from swarm.report.figures.drawing import Theme
from swarm.study.settings import Layout
from swarm.study.state import StudyState
from swarm.watch.watching import watch_study
from swarm.watch.web.hub import Hub

pytest.importorskip("uvicorn", reason="without the extra [web] the page is not verified")
pytest.importorskip("starlette", reason="without the extra [web] the page is not verified")

TOKEN = "right-token"


@dataclass
class Site:
    port: int
    brain: Path

    def ask(
        self, path: str, *, method: str = "GET", body: object = None, token: str | None = TOKEN, **headers: str
    ) -> tuple[int, dict[str, str], str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if method == "GET":
            path += f"{'&' if '?' in path else '?'}token={token}" if token else ""
        elif token is not None:
            sent["X-Swarm-Token"] = token
        connection.request(method, path, body=json.dumps(body) if body is not None else None, headers=sent)
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, text

    def say(self, action: str, subject: str = "", text: str = "") -> tuple[int, str]:
        status, _, said = self.ask("/steer", method="POST", body={"action": action, "subject": subject, "text": text})
        return status, json.loads(said)["said"]


@contextmanager
def site_of(brain: Path) -> Iterator[Site]:
    from swarm.watch.web.server import listening, server_of

    hub = Hub(watch_study(Brain(brain), None, SystemClock()), lambda: Brain(brain), SystemClock())
    place, server = listening(0), server_of(hub, TOKEN)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [place]})
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield Site(place.getsockname()[1], brain)
    finally:
        server.should_exit = True
        thread.join()
        place.close()


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site_of(written(demo_study().records, tmp_path_factory.mktemp("copy") / "copy.jsonl")) as site:
        yield site


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Site]:
    """Of the repository in which the study was run."""
    fake = FakeStudy()
    fake.measure_noise()
    root = make_repository(tmp_path / "repo").root
    save_settings(run_settings(root, study_id=fake.study.study_id))
    with site_of(written(fake.records, root / "swarm_brain.jsonl")) as site:
        yield site


def test_the_page_is_whole_at_once_and_every_answer_is_closed_to_others(copy: Site) -> None:
    status, headers, text = copy.ask("/")
    assert status == 200 and "fake-study" in text and "incumbent" in text
    for path in ("/", "/page.js", "/page.css", "/plotly.js", "/figure/history", "/table/ranking"):
        status, headers, text = copy.ask(path)
        assert status == 200 and len(text) > 500, path
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert headers["referrer-policy"] == "no-referrer" and headers["cross-origin-resource-policy"] == "same-origin"
        assert "server" not in headers and "set-cookie" not in headers


@pytest.mark.parametrize("path", ["/", "/events", "/figure/history", "/table/ranking", "/page.js", "/plotly.js"])
def test_without_the_token_or_under_another_name_there_is_nothing(copy: Site, path: str) -> None:
    for status, _, text in (
        copy.ask(path, token=None),
        copy.ask(path, token="right-tokem"),
        copy.ask(path, Host="evil.example"),
    ):
        assert status == 403 and "fake-study" not in text and TOKEN not in text


def test_what_is_not_there_is_not_found(copy: Site) -> None:
    for path in ("/figure/../../etc/passwd", "/figure/nothing", "/table/nothing", "/etc/passwd"):
        assert copy.ask(path)[0] == 404, path


def test_a_figure_has_both_looks_and_no_number_that_json_does_not_know(copy: Site) -> None:
    light, dark = (json.loads(copy.ask(f"/figure/history?theme={theme}")[2]) for theme in ("light", "dark"))
    assert light["title"] and light["data"] and light["layout"]["template"] != dark["layout"]["template"]


def test_changes_are_sent_as_they_come_and_only_those(own: Site) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", own.port, timeout=20)
    connection.request("GET", f"/events?token={TOKEN}")
    answer = connection.getresponse()
    assert answer.getheader("content-type", "").startswith("text/event-stream")
    first = json.loads(answer.readline().decode().removeprefix("data: "))
    assert set(first["sections"]) == {"head", "facts", "slots", "programs", "events"}
    Brain(own.brain).append(Note(study_id="fake-study", description="a <b>finding</b>"))
    answer.readline()
    second = json.loads(answer.readline().decode().removeprefix("data: "))
    assert second["seq"] > first["seq"] and set(second["sections"]) <= {"events", "facts", "head"}
    assert "a &lt;b&gt;finding&lt;/b&gt;" in second["sections"]["events"]
    connection.close()


def test_a_button_writes_the_record_that_the_command_writes(own: Site) -> None:
    assert own.say("veto", "schedule", "too slow") == (200, "Written: veto schedule.")
    assert own.say("allow", "schedule")[0] == 200
    assert own.say("boost", "optimiser")[0] == 200
    assert own.say("pin", "t0001")[0] == 200
    assert own.say("note", text="try fewer epochs")[0] == 200
    study = Brain(own.brain).snapshot().latest
    assert study is not None
    assert [(one.agent_id, one.action, one.subject, one.description) for one in study.steers] == [
        ("person", "veto", "schedule", "too slow"),
        ("person", "allow", "schedule", ""),
        ("person", "boost", "optimiser", ""),
        ("person", "pin", "t0001", ""),
        ("person", "note", "", "try fewer epochs"),
    ]


def test_trials_and_hours_are_set_from_the_page(own: Site) -> None:
    claimed = _claimed(own)
    said = own.say("trials", str(claimed + 9))
    assert said[0] == 200 and f"has {claimed + 9} trials" in said[1] and f"{claimed} claimed" in said[1]
    assert own.say("hours", "2.5")[0] == 200
    study = Brain(own.brain).snapshot().latest
    assert study is not None and study.limits.trials == claimed + 9 and study.limits.deadline_at is not None
    status, text = own.say("trials", str(claimed - 1))
    assert status == 409 and f"has claimed {claimed} already" in text
    assert own.say("trials", "unlimited")[0] == 200


def _claimed(own: Site) -> int:
    study = Brain(own.brain).snapshot().latest
    assert study is not None
    return len(study.trials)


def test_what_makes_no_sense_is_refused_and_writes_nothing(own: Site) -> None:
    for action, subject, text in (
        ("veto", "no such family", ""), ("allow", "schedule", ""), ("pin", "t9999", ""), ("note", "", " "),
        ("trials", "many", ""), ("hours", "0", ""), ("trials", "", ""), ("budget", "trials", ""),
        ("note", "", "x" * 301), ("delete", "", ""), ("now", "", ""),
    ):  # fmt: skip
        assert own.say(action, subject, text)[0] == 409, action
    for body in ([], {"action": 3}, "x" * 20_000, None):
        assert own.ask("/steer", method="POST", body=body)[0] == 400
    study = Brain(own.brain).snapshot().latest
    assert study is not None and study.steers == []


def test_another_sites_page_presses_no_button(own: Site) -> None:
    word = {"action": "veto", "subject": "schedule", "text": ""}
    assert own.ask("/steer", method="POST", body=word, token=None)[0] == 403
    assert own.ask(f"/steer?token={TOKEN}", method="POST", body=word, token=None)[0] == 403
    assert own.ask("/steer", method="POST", body=word, Origin="http://evil.example")[0] == 403
    assert own.ask("/steer", method="POST", body=word, Host="evil.example")[0] == 403
    assert own.ask(f"/steer?token={TOKEN}")[0] == 405
    study = Brain(own.brain).snapshot().latest
    assert study is not None and study.steers == []


@pytest.mark.parametrize(("action", "control"), [("drain", Control.DRAIN), ("now", Control.NOW)])
def test_a_running_study_is_stopped_as_by_the_command(own: Site, action: str, control: Control) -> None:
    layout = Layout(root=own.brain.parent)
    with only_orchestrator(layout) as reign:
        reign.announce("fake-study")
        assert own.say(action)[0] == 200
    assert read_control(layout, "fake-study") is control
    study = Brain(own.brain).snapshot().latest
    assert study is not None and [one.action for one in study.steers] == ["stop"]


def test_a_copy_of_a_brain_takes_no_word(copy: Site) -> None:
    before = copy.brain.read_bytes()
    assert copy.say("veto", "schedule") == (409, "this is a copy of a brain: steer the study where it runs")
    assert copy.brain.read_bytes() == before


def test_a_result_has_its_change_which_is_gathered_once_for_each_state(tmp_path: Path) -> None:
    brain = written(demo_study().records, tmp_path / "brain.jsonl")
    asked: list[str] = []

    def evidence(study: StudyState) -> Evidence:
        asked.append(study.study_id)
        leader = study.incumbent
        assert leader is not None
        return Evidence(edits={leader.name: "+edited = 1\n"}, changes={leader.name: "-old = 1\n+new = 2\n"})

    hub = Hub(watch_study(Brain(brain), None, SystemClock()), lambda: Brain(brain), SystemClock(), evidence)
    assert "+new = 2" in hub.table("results") and "At a glance" not in hub.table("results")
    assert "edited = 1" in hub.figure("lineage", Theme.LIGHT)
    hub.table("integrity")
    assert asked == ["fake-study"]
