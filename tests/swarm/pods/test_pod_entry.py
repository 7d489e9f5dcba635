"""The entry script in a plain folder: a real process tree, started by the command that a provider gets."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields
from pathlib import Path

import pytest
from fakes.pod_in_a_folder import CANARY, FolderPod, bundle_of, order_for
from fakes.pod_provider import FakeProvider, fake_provider
from fakes.tiny_study import TinyStudy, make_tiny_study

from swarm.brain import Brain, verify
from swarm.pods.entry import Entry, up_words
from swarm.pods.inside import start
from swarm.pods.inside.code import NoCode, run_logged
from swarm.pods.inside.health import healthy
from swarm.pods.inside.home import Home, write_json
from swarm.pods.inside.seed import seed
from swarm.pods.inside.told import BadOrder, Order, Source, SyncTarget, read_order, without_pod_secrets
from swarm.pods.order import PodReport, StudyOrder
from swarm.pods.order import Source as OrderedSource
from swarm.pods.order import SyncTarget as OrderedSyncTarget
from swarm.records import TrialState
from swarm.study.state import StudyState

NO_SOURCE = OrderedSource(kind="bundle", commit="0" * 40, sha256="0" * 64)


@pytest.fixture
def tiny(tmp_path: Path) -> TinyStudy:
    return make_tiny_study(tmp_path / "tiny")


def all_is_over(pod: FolderPod, provider: FakeProvider) -> None:
    pod.wait_for(lambda: pod.processes() == [], 20)
    assert len(provider.asked) == 1 and "/v2/pods/pod1" in provider.asked[0]
    assert set(provider.keys) == {f"Bearer {CANARY}"}
    assert files_with(CANARY, pod.home) == []


def files_with(word: str, folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and word.encode() in path.read_bytes()]


def test_the_pod_reads_the_order_as_it_was_written() -> None:
    ordered = order_for(
        NO_SOURCE, "--trials", "2", now=5.0, min_gain_per_usd=0.5, sync=OrderedSyncTarget(kind="git", url="u")
    )
    read = read_order(ordered.model_dump_json())
    assert {field.name for field in fields(Order)} == set(StudyOrder.model_fields)
    assert {field.name for field in fields(Source)} == set(OrderedSource.model_fields)
    assert {field.name for field in fields(SyncTarget)} == set(OrderedSyncTarget.model_fields)
    for name in StudyOrder.model_fields:
        if name not in ("source", "sync"):
            assert getattr(read, name) == getattr(ordered, name), name
    assert read.source == Source(**ordered.source.model_dump()) and read.sync == SyncTarget(**ordered.sync.model_dump())
    least = read_order(json.dumps({key: value for key, value in ordered.model_dump().items() if key in required()}))
    assert least == read_order(
        StudyOrder.model_validate({k: getattr(ordered, k) for k in required()}).model_dump_json()
    )


def required() -> set[str]:
    return {name for name, field in StudyOrder.model_fields.items() if field.is_required()}


@pytest.mark.parametrize(
    "wrong",
    [
        {"lifetime_s": 0},
        {"lifetime_s": "9"},
        {"version": 2},
        {"up": [1]},
        {"source": "x"},
        {"pod_name": 1},
        {"sync": 3},
    ],
)
def test_an_order_that_cannot_be_obeyed_is_refused(wrong: dict[str, object]) -> None:
    text = json.dumps({**order_for(NO_SOURCE, now=5.0).model_dump(mode="json"), **wrong})
    with pytest.raises(BadOrder):
        read_order(text)
    with pytest.raises(BadOrder):
        read_order("{")


def test_what_a_pod_says_of_itself_is_safe_to_print() -> None:
    said = json.dumps({"phase": "done", "at": 0, "why": "\x1b[2Jgone\n", "study_id": "\x07s", "last_line": "\x1b]0;x"})
    report = PodReport.model_validate_json(said)
    words = f"{report.why} {report.study_id} {report.last_line}"
    assert words.isprintable() and "gone" in words


def test_the_seed_needs_the_standard_library_only_and_fits_into_a_request() -> None:
    begin = start(order_for(NO_SOURCE, now=5.0))
    assert seed() == seed()
    assert sum(map(len, begin.env.values())) + len(begin.command) < 48_000


def test_the_seed_runs_without_anything_installed(tmp_path: Path) -> None:
    """-I -S: no folder of ours, no site-packages. Without an order it says so and ends."""
    archive = tmp_path / "seed.pyz"
    archive.write_bytes(seed())
    environment = {"PATH": os.environ["PATH"], "SWARM_POD_HOME": str(tmp_path / "home")}
    command = [sys.executable, "-I", "-S", str(archive)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2 and "SWARM_POD_ORDER cannot be read" in done.stderr, done.stderr


def test_a_study_knows_an_end_that_is_before_that_of_its_pod(tmp_path: Path) -> None:
    """So that it runs its finals and ends in order, and is not cut off."""
    now = time.time()
    order = read_order(order_for(NO_SOURCE, "--seed", "1", now=now, lifetime_s=7200).model_dump_json())
    entry = Entry(Home(tmp_path), order, {})
    assert entry._hours_left() == pytest.approx(2 - 600 / 3600, abs=0.01)
    write_json(tmp_path / "state.json", {"ends_at": now + 3600})
    assert entry._hours_left() == pytest.approx(1 - 600 / 3600, abs=0.01)
    assert up_words(order, resumable=False, hours_left=0.5)[-4:] == ["--seed", "1", "--hours", "0.5000"]
    assert up_words(order, resumable=True, hours_left=0.5) == ["--resume"]


def test_nothing_that_ends_pods_is_handed_to_the_study() -> None:
    given = {"RUNPOD_API_KEY": "k", "RUNPOD_POD_ID": "p", "SWARM_POD_GIT_TOKEN": "t", "SWARM_POD_ORDER": "{}"}
    assert without_pod_secrets({**given, "OPENAI_API_KEY": "o", "PATH": "/bin"}) == {
        "OPENAI_API_KEY": "o",
        "PATH": "/bin",
    }


def test_a_pod_to_which_no_code_comes_ends_itself(tmp_path: Path) -> None:
    with fake_provider() as provider:
        pod = FolderPod(tmp_path / "pod", order_for(NO_SOURCE, now=time.time(), bundle_wait_s=3), provider.url)
        with ended(pod.start(tmp_path / "ledger")) as process:
            pod.wait_for(lambda: pod.state().get("phase") == "waiting")
            assert healthy({"SWARM_POD_HOME": str(pod.home)}, time.time())
            score = Path(f"/proc/{pod.pid('watchdog')}/oom_score_adj").read_text().strip()
            told = "the kernel may end the watchdog" in (pod.home / "log" / "watchdog.log").read_text()
            assert told == (score != "-1000"), f"{score} and told: {told}"
            assert process.wait(60) == 1
        all_is_over(pod, provider)
        pod.wait_for(lambda: not healthy({"SWARM_POD_HOME": str(pod.home)}, time.time()), 20)
    assert "no code came" in str(pod.state()["why"])


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGKILL])
def test_a_watchdog_that_does_nothing_any_more_is_replaced_while_the_pod_waits(number: int, tmp_path: Path) -> None:
    with fake_provider() as provider:
        pod = FolderPod(tmp_path / "pod", order_for(NO_SOURCE, now=time.time(), bundle_wait_s=3), provider.url)
        with ended(pod.start(tmp_path / "ledger")) as process:
            pod.wait_for(lambda: pod.state().get("phase") == "waiting")
            first = pod.pid("watchdog")
            os.kill(first, number)
            pod.wait_for(lambda: pod.pid("watchdog") != first, 15)
            assert process.wait(60) == 1
        all_is_over(pod, provider)


def test_the_watchdog_is_looked_after_while_a_command_of_the_set_up_runs(tmp_path: Path) -> None:
    looked = []

    def look() -> None:
        looked.append(1)
        if len(looked) == 2:
            raise NoCode("no watchdog can be begun")

    begun = time.monotonic()
    with pytest.raises(NoCode):
        run_logged(tmp_path / "log", look)(["sleep", "60"], tmp_path, {"PATH": os.environ["PATH"]})
    assert time.monotonic() - begun < 30 and len(looked) == 2


class ended:  # noqa: N801 - reads as a sentence
    """A failing test must not leave a pod behind."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process

    def __enter__(self) -> "subprocess.Popen[bytes]":
        return self._process

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()


@pytest.fixture
def killed_at_the_end(tmp_path: Path) -> Callable[[FolderPod], None]:
    def kill(pod: FolderPod) -> None:
        for process in pod.processes():
            with suppress(Exception):
                process.kill()

    return kill


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_pod_runs_its_study_makes_its_report_and_ends_itself(tmp_path: Path, tiny: TinyStudy) -> None:
    source = bundle_of(tiny, tmp_path / "bundle")
    with fake_provider() as provider:
        order = order_for(source, "--trials", "3", now=time.time(), deadline_at=time.time() + 600, lifetime_s=600)
        pod = FolderPod(tmp_path / "pod", order, provider.url)
        with ended(pod.start(tmp_path / "ledger")) as process:
            pod.wait_for(lambda: pod.state().get("phase") == "waiting")
            pod.put_bundle(tmp_path / "bundle")
            assert process.wait(250) == 0
            all_is_over(pod, provider)
    assert [trial.state for trial in study_of(pod).trials.values()] == [TrialState.COMPLETE] * 3
    assert verify(pod.home / "repo" / "swarm_brain.jsonl").ok
    assert (pod.home / "report" / "report.html").exists()
    assert pod.state()["phase"] == "done" and pod.state()["exit_code"] == 0


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_plain_folder_runs_a_study_by_words_alone(tmp_path: Path, tiny: TinyStudy) -> None:
    """No provider, no renter, no environment of ours: what a container or another launcher does."""
    home = tmp_path / "plain"
    pod = FolderPod(home, order_for(NO_SOURCE, now=time.time()))
    up = ["--target", "tiny", "--data", "standin", "--device", "cpu", "--trials", "2"]
    words = ["--repository", str(tiny.root), "--hours", "0.2", "--", *up]
    environment = pod.environment(tmp_path / "ledger")
    with (tmp_path / "said").open("wb") as said:
        process = subprocess.Popen([sys.executable, "-m", "swarm.pods.entry", *words], env=environment, stderr=said)
        with ended(process):
            assert process.wait(250) == 0, (tmp_path / "said").read_text()
    pod.wait_for(lambda: pod.processes() == [], 20)
    assert [trial.state for trial in study_of(pod).trials.values()] == [TrialState.COMPLETE] * 2
    assert (home / "report" / "report.md").exists()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_at_the_deadline_all_is_dead_the_results_lie_there_and_the_provider_was_asked(
    tmp_path: Path, tiny: TinyStudy
) -> None:
    """A study without an end of its own, and 120 s to live."""
    source, began = bundle_of(tiny, tmp_path / "bundle"), time.time()
    with fake_provider() as provider:
        order = order_for(
            source, "--trials", "9999", now=began, deadline_at=began + 120, lifetime_s=120, collect_wait_s=30
        )
        pod = FolderPod(tmp_path / "pod", order, provider.url)
        with ended(pod.start(tmp_path / "ledger")) as process:
            pod.put_bundle(tmp_path / "bundle")
            process.wait(200)
            all_is_over(pod, provider)
            assert time.time() - began < 120 + 30
    assert provider.asked == ['POST /v2/pods/pod1/action {"action": "stop"}']  # since nobody fetched anything
    trials = study_of(pod).trials.values()
    assert trials and all(trial.finished is not None for trial in trials)
    assert verify(pod.home / "repo" / "swarm_brain.jsonl").ok


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("phase", ["waiting", "running"])
@pytest.mark.parametrize("victims", [("entry",), ("watchdog",), ("entry", "watchdog", "up")], ids="+".join)
def test_whoever_is_killed_the_study_is_gone_on_with(
    tmp_path: Path,
    tiny: TinyStudy,
    phase: str,
    victims: tuple[str, ...],
    killed_at_the_end: Callable[[FolderPod], None],
) -> None:
    source = bundle_of(tiny, tmp_path / "bundle")
    with fake_provider() as provider:
        order = order_for(source, "--trials", "3", now=time.time(), deadline_at=time.time() + 900, lifetime_s=900)
        pod = FolderPod(tmp_path / "pod", order, provider.url)
        try:
            with ended(pod.start(tmp_path / "ledger")) as process:
                if phase == "running":
                    pod.put_bundle(tmp_path / "bundle")
                    pod.wait_for(lambda: has_trial(pod), 200)
                pod.wait_for(lambda: pod.state().get("phase") == phase)
                for victim in victims:
                    if victim != "up" or phase == "running":
                        os.kill(pod.pid("entry", "up") if victim == "up" else pod.pid(victim), signal.SIGKILL)
                if "entry" not in victims:
                    pod.put_bundle(tmp_path / "bundle")
                    assert process.wait(250) == 0
            if "entry" in victims:
                with ended(pod.start(tmp_path / "ledger")) as process:
                    pod.put_bundle(tmp_path / "bundle")
                    assert process.wait(250) == 0
            all_is_over(pod, provider)
        finally:
            killed_at_the_end(pod)
    study = study_of(pod)
    assert sum(trial.state is TrialState.COMPLETE for trial in study.trials.values()) == 3
    assert len(Brain(pod.home / "repo" / "swarm_brain.jsonl").snapshot().studies) == 1


def has_trial(pod: FolderPod) -> bool:
    path = pod.home / "repo" / "swarm_brain.jsonl"
    return path.exists() and b"trial_started" in path.read_bytes()


def study_of(pod: FolderPod) -> StudyState:
    study = Brain(pod.home / "repo" / "swarm_brain.jsonl").snapshot().latest
    assert study is not None
    return study
