"""Two cards in one machine: real processes on the CPU, admission over a fake driver that can lose a card."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fakes.steady_probe import CARD
from fakes.tiny_study import TRAIN

from swarm.admission import AdmissionController
from swarm.admission.ledger.history import append_history
from swarm.admission.policy.predict import PeakRecord
from swarm.clock import SystemClock
from swarm.errors import NeverFits, NoCardLeft
from swarm.execution.executor import MemoryEvidence, Outcome, Progress, RunningTrial, TrialOrder
from swarm.execution.local import LocalExecutor
from swarm.gpu import HostLimits
from swarm.gpu.reading import DeviceKind, DeviceReading, ProcessUse
from swarm.harness.prepare import prepare
from swarm.records import Budget, FailReason
from swarm.supervisor import Zygote
from swarm.trial.contract import code_root, harness_sha256
from swarm.trial.folder import TrialFolder

A, B = CARD, replace(CARD, uuid="GPU-b")
GONE = "NVMLError_GpuIsLost: GPU is lost"
LIMIT_S = 60.0
SAYS_ITS_CARD = """
def main() -> None:
    import os, time
    print("sees", os.environ["CUDA_VISIBLE_DEVICES"], flush=True)
    {more}
    train_as_usual()
"""


class Cards:
    """Two cards. A new process shows at each look, so that nobody waits for the start of one that is on no card."""

    kind: DeviceKind = "cuda"
    name = A.name

    def __init__(self) -> None:
        self.lost: set[str] = set()
        self._looks = 0

    def read(self) -> tuple[DeviceReading, ...]:
        self._looks += 1
        shown = (ProcessUse(900_000 + self._looks, 1),)
        return tuple(
            replace(card, lost=True, free_mib=0, fault=GONE)
            if card.uuid in self.lost
            else replace(card, processes=shown)
            for card in (A, B)
        )


class HastyClock(SystemClock):
    """Ten seconds pass in one."""

    def monotonic(self) -> float:
        return 10.0 * super().monotonic()

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds / 10)


class Bench:
    def __init__(self, folder: Path, zygote: Path, cards: tuple[str, ...] = ("GPU-a", "GPU-b")) -> None:
        self.probe = Cards()
        self.folder = folder
        clock = HastyClock()
        self.admission = AdmissionController(
            folder / "ledger", self.probe, clock, HostLimits(cpu_slots=8, ram_mib=64_000), cards=cards
        )
        data = prepare("standin").layout.root
        self._executor = LocalExecutor(folder / "trials", data, self.admission, clock, zygote=zygote)

    def submit(self, name: str, more: str = "pass", mib: int = 13_000) -> RunningTrial:
        # Known, so that it is not probed before it trains.
        append_history(
            self.folder / "ledger" / "history.jsonl",
            PeakRecord(name, mib, mib, mib, "same_code", too_small=False, device=A.name),
        )
        source = TRAIN.replace("def main()", "def train_as_usual()") + SAYS_ITS_CARD.format(more=more)
        return self._executor.submit(
            TrialOrder(
                study_id="s",
                trial_id=name,
                agent_id="worker_1",
                target="tiny",
                files={"train.py": source.encode()},
                editable="train.py",
                seed=1,
                budget=Budget(kind="samples", amount=1280, walltime_limit_s=600),
                device="cpu",
                threads=1,
                sandbox="none",
                harness_sha256=harness_sha256(),
                memory=MemoryEvidence(code_sha256=name, parents=("known",), profile_mib=mib),
            )
        )

    def log(self, name: str) -> str:
        return TrialFolder(self.folder / "trials" / name).log_text("train")


@pytest.fixture(scope="module")
def zygote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    started = Zygote.start(
        "swarm.harness.preload", tmp_path_factory.mktemp("z") / "z.sock", pythonpath=(str(code_root()),)
    )
    yield started.socket_path
    started.stop()


def until(running: list[RunningTrial], enough) -> list[Progress | Outcome]:
    ends_s = time.monotonic() + LIMIT_S
    while not enough(seen := [one.poll() for one in running]):
        assert time.monotonic() < ends_s, seen
        time.sleep(0.02)
    return seen


def running_on(seen: list[Progress | Outcome]) -> list[str | None]:
    return [one.started.device_uuid if one.started is not None and one_runs(one) else None for one in seen]


def one_runs(one: Progress | Outcome) -> bool:
    return not isinstance(one, Progress) or one.state == "running"


HANGS = "time.sleep(600)"


def test_a_trial_goes_where_it_fits_and_a_lost_card_ends_its_trials_only(tmp_path: Path, zygote: Path) -> None:
    bench = Bench(tmp_path, zygote)
    first, second = bench.submit("t1", HANGS), bench.submit("t2", "time.sleep(2.5)")
    seen = until([first, second], lambda seen: all(running_on(seen)))
    on = running_on(seen)
    assert sorted(map(str, on)) == ["GPU-a", "GPU-b"]
    bench.probe.lost = {str(on[0])}
    ended, other = until([first, second], lambda seen: all(isinstance(one, Outcome) for one in seen))
    assert isinstance(ended, Outcome) and isinstance(other, Outcome)
    assert ended.reason is FailReason.ABANDONED and f"its card is lost: Fake 4090 ({on[0]})" in ended.detail
    assert ended.score is None and ended.attempts == 1
    assert other.score is not None and other.reason is None
    assert bench.log("t2").startswith(f"sees {on[1]}\n")
    (third,) = until([bench.submit("t3")], lambda seen: isinstance(seen[0], Outcome))
    assert third.started is not None and third.started.device_uuid == on[1]


def test_a_program_that_dies_of_its_lost_card_is_not_blamed(tmp_path: Path, zygote: Path) -> None:
    """Its own error comes sooner than anybody is sure that the card is gone."""
    bench = Bench(tmp_path, zygote)
    flag = tmp_path / "lost"
    wait = f"while not os.path.exists({str(flag)!r}): time.sleep(0.02)"
    trial = bench.submit("t1", f"{wait}\n    raise RuntimeError('CUDA error: unspecified launch failure')")
    (seen,) = until([trial], lambda seen: all(running_on(seen)))
    bench.probe.lost = {str(running_on([seen])[0])}
    flag.touch()
    (ended,) = until([trial], lambda seen: isinstance(seen[0], Outcome))
    assert isinstance(ended, Outcome)
    assert ended.reason is FailReason.ABANDONED and "NVMLError_GpuIsLost" in ended.detail


def test_without_a_card_left_nothing_waits_for_ever(tmp_path: Path, zygote: Path) -> None:
    bench = Bench(tmp_path, zygote)
    holder, waiter = bench.submit("t1", HANGS, 16_000), bench.submit("t2", HANGS, 16_000)
    until([holder, waiter], lambda seen: all(running_on(seen)))
    queued = bench.submit("t3", mib=16_000)
    until([queued], lambda seen: isinstance(seen[0], Progress) and seen[0].state == "waiting")
    bench.probe.lost = {"GPU-a", "GPU-b"}
    ended = until([holder, waiter, queued], lambda seen: all(isinstance(one, Outcome) for one in seen))
    assert [one.reason for one in ended if isinstance(one, Outcome)] == [FailReason.ABANDONED] * 3
    assert isinstance(ended[2], Outcome) and "no card is left" in ended[2].detail
    with pytest.raises(
        NoCardLeft, match=r"no card is left: Fake 4090 \(GPU-a\) is lost, NVMLError_GpuIsLost.*--resume"
    ):
        bench.admission.require_card()


def test_a_study_keeps_to_its_cards(tmp_path: Path, zygote: Path) -> None:
    bench = Bench(tmp_path, zygote, cards=("GPU-b",))
    first, second = bench.submit("t1", HANGS), bench.submit("t2", HANGS)
    seen = until([first, second], lambda seen: running_on(seen)[0] is not None)
    assert running_on(seen)[0] == "GPU-b"
    (waits,) = until([second], lambda seen: isinstance(seen[0], Progress) and seen[0].why != "")
    assert isinstance(waits, Progress) and "GPU 1 cannot hold" in waits.why and "GPU 0" not in waits.why
    first.stop("seen enough")
    second.stop("seen enough")
    until([first, second], lambda seen: all(isinstance(one, Outcome) for one in seen))


def test_cards_that_are_not_there_any_more_end_the_study_too(tmp_path: Path) -> None:
    probe = Cards()
    admission = AdmissionController(tmp_path, probe, SystemClock(), cards=("GPU-taken-out",))
    with pytest.raises(NoCardLeft, match="GPU-taken-out is not in this machine any more"):
        admission.require_card()
    assert issubclass(NoCardLeft, Exception) and NoCardLeft.exit_code == 2 and NeverFits.exit_code == 1
