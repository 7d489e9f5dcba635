"""A command that is timed: fresh processes in turn with a fixed program's, new inputs, the supervisor's own clock."""

import json
import threading
from pathlib import Path

import pytest
from factories.graded import run_graded
from factories.timed import ADDS, ROUNDS, TERMS, TIMED, timed_files, timed_order

from swarm.execution.graded import seen_by_command
from swarm.execution.rounds import of_reference, round_phases, without_reference
from swarm.grading.answer import NoScore
from swarm.grading.arrays import NotInert
from swarm.grading.config import DeclaredOutput, GradedConfig
from swarm.grading.make_phase import make_inputs
from swarm.grading.timing import take_rounds
from swarm.records import FailReason
from swarm.supervisor import PhaseSpec
from swarm.supervisor.channel import Channel
from swarm.trial.contract import CHANNEL_VARIABLE, Phase, candidate_begins
from swarm.trial.folder import TrialFolder


def config(root: Path, **fields: object) -> GradedConfig:
    values: dict[str, object] = {
        "root": root,
        "seed": 1,
        "budget": 8.0,
        "budget_unit": "cpu_seconds",
        "device": "cpu",
        "run": TIMED.run,
        "grade": TIMED.grade,
        "wanted": ("ratio",),
        "outputs": (DeclaredOutput("sum.json", "json", "", None, 100),),
        "grade_limit_s": 60.0,
        "rounds": 2,
        "make": ROUNDS.make,
    }
    return GradedConfig(**{**values, **fields})  # type: ignore[arg-type]


@pytest.fixture
def folder(tmp_path: Path) -> TrialFolder:
    """With what a grader has, and a place for each process."""
    folder = TrialFolder(tmp_path)
    for path, content in timed_files().items():
        (folder.grader / path).parent.mkdir(parents=True, exist_ok=True)
        (folder.grader / path).write_bytes(content)
    for number in (1, 2):
        for who in ("run", "reference"):
            (folder.workplace(f"{who}.{number}") / "outputs").mkdir(parents=True)
    return folder


def test_both_programs_get_the_inputs_of_a_round_and_nothing_else_of_it(folder: TrialFolder) -> None:
    made = config(folder.root)
    assert GradedConfig.from_json(made.to_json()) == made
    (folder.workplace("run.1") / "inputs").mkdir()
    (folder.workplace("run.1") / "inputs" / "numbers.json").write_text("[1]")
    make_inputs(made, "a secret")
    seen = [[(folder.workplace(f"{who}.{n}") / "inputs").iterdir() for who in ("run", "reference")] for n in (1, 2)]
    texts = [[[path.read_text() for path in sorted(place)] for place in round_] for round_ in seen]
    assert all(len(place) == 1 for round_ in texts for place in round_), "inputs/ alone is theirs"
    assert texts[0][0] == texts[0][1] and texts[0] != texts[1], "the same for both, and another in each round"


def test_inputs_follow_a_secret_that_no_program_is_told(folder: TrialFolder, tmp_path: Path) -> None:
    made = []
    for secret in ("one", "two"):
        make_inputs(config(folder.root), secret)
        made.append((folder.workplace("run.1") / "inputs" / "numbers.json").read_text())
        for path in (folder.grader / "rounds").iterdir():
            path.rename(tmp_path / f"{secret}{path.name}")
    assert made[0] != made[1]


def test_a_round_without_inputs_and_a_command_that_fails_are_said(folder: TrialFolder) -> None:
    (folder.grader / "grading" / "make.py").write_text("pass")
    with pytest.raises(NoScore, match="left no folder rounds/1/inputs"):
        make_inputs(config(folder.root), "s")
    (folder.grader / "grading" / "make.py").write_text("raise SystemExit(4)")
    with pytest.raises(NoScore, match=r"rounds.make ended with exit code 4"):
        make_inputs(config(folder.root), "s")


def ended(folder: TrialFolder, *, begun: bool = True) -> None:
    names = [f"{who}.{number}" for number in (1, 2) for who in ("run", "reference")]
    rows = [{"name": name, "begun": begun, "own_cpu_s": 0.5 + len(name), "own_s": 2.0} for name in names]
    folder.ended.write_text(json.dumps([{"name": "make", "begun": False}, *rows]))


def test_the_grader_gets_the_outputs_of_both_and_the_supervisors_times(folder: TrialFolder) -> None:
    make_inputs(config(folder.root), "s")
    for place in folder.rounds.glob("*/*"):
        (place / "outputs" / "sum.json").write_text(place.name.join("[]").replace(place.name, "7"))
    ended(folder)
    take_rounds(config(folder.root))
    times = json.loads((folder.grader / "rounds.json").read_text())
    assert times[1] == {
        "round": 2, "run": {"cpu_s": 5.5, "wall_s": 2.0}, "reference": {"cpu_s": 11.5, "wall_s": 2.0}
    }  # fmt: skip
    assert json.loads((folder.grader / "rounds" / "2" / "run" / "sum.json").read_text()) == [7]


def test_an_output_that_is_missing_in_one_round_and_a_time_without_a_begin_are_no_score(folder: TrialFolder) -> None:
    make_inputs(config(folder.root), "s")
    ended(folder)
    with pytest.raises(NotInert, match=r"sum.json cannot be opened"):
        take_rounds(config(folder.root))
    ended(folder, begun=False)
    with pytest.raises(NoScore, match="did not say when the program began"):
        take_rounds(config(folder.root))


def test_programs_take_turns_in_folders_of_their_own_and_start_nothing_that_is_not_counted(tmp_path: Path) -> None:
    folder = TrialFolder(tmp_path)
    run = PhaseSpec("run", Phase.RUN.module, False, 10.0, read=("/code", str(folder.program)), processes=True)
    phases = round_phases(folder, run, ROUNDS)
    assert [phase.name for phase in phases] == ["run.1", "reference.1", "reference.2", "run.2"]
    assert phases[0].read == ("/code", str(tmp_path / "rounds" / "1" / "run")) and not phases[0].processes
    assert phases[0].write == (str(folder.scratch), str(tmp_path / "rounds" / "1" / "run" / "outputs"))


def test_the_fixed_program_runs_where_the_other_one_does_and_is_not_shown_to_it() -> None:
    files = {**timed_files("changed"), "private/x.json": b"1"}
    seen = seen_by_command(files, TIMED, "val")
    assert set(without_reference(seen, ROUNDS)) == {"add.py", "grading/make.py", "grading/grade.py"}
    fixed = of_reference(seen, TERMS, ROUNDS)
    assert (set(fixed), fixed["add.py"]) == ({"add.py", "grading/make.py", "grading/grade.py"}, ADDS.encode())


def test_a_program_begins_when_what_was_used_before_it_has_been_read(monkeypatch: pytest.MonkeyPatch) -> None:
    channel, theirs = Channel.pair()
    channel.socket.setblocking(False)
    monkeypatch.setenv(CHANNEL_VARIABLE, str(theirs))
    begins = threading.Thread(target=candidate_begins, kwargs={"wait": True})
    begins.start()
    while not channel.listen().begins:
        pass
    begins.join(0.1)
    waited = begins.is_alive()
    channel.say_noted()
    begins.join(10)
    assert waited and not begins.is_alive()
    channel.say_noted()  # nobody is there any more
    channel.close()


WASTES = """
import time
while time.process_time() < 0.4:
    pass
"""


def test_a_trial_in_rounds_is_measured_from_outside(tmp_path: Path) -> None:
    patched = "import time\ntime.process_time_ns = lambda: 0\n"
    outcome = run_graded(tmp_path, timed_order(WASTES + patched + ADDS))
    assert outcome.score is not None, outcome
    metrics = outcome.score.metrics
    assert metrics["right"] == 2 and outcome.score.validation_loss == metrics["ratio"] > 2, metrics
    assert 0.8 <= metrics["used_s"] < 2 and metrics["used_s"] == pytest.approx(metrics["run.cpu_seconds"], abs=1e-3)
    assert not (tmp_path / "trials" / "t0001" / "rounds").exists()


@pytest.mark.slow
def test_a_round_that_fails_ends_the_trial_and_is_named(tmp_path: Path) -> None:
    fails = ADDS + "import os\nif 'never' not in os.environ: raise SystemExit(7)\n"
    outcome = run_graded(tmp_path, timed_order(fails))
    assert (outcome.reason, outcome.score) == (
        FailReason.CRASHED,
        None,
    ) and "run.1 ended with exit code 7" in outcome.detail
