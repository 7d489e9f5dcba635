"""A trial's folder: what lies where, and what it is called. How its files are read is in `swarm.trial.files`.

T/order.json, attempt.json        what the executor was asked for, and the attempt that runs: enough to adopt it
T/harness.json, spec.json         what the phases and the supervisor are told
T/supervisor.json, sessions       who supervises it, and the sessions of its processes
T/input                           standard input of the phases: empty
T/stop_reason, result.json        why it was asked to stop; how it went: there is a result once it is over
T/program/                        the exported program; deleted at the end
T/scratch/                        HOME and TMPDIR of the sandboxed phases; deleted at the end
T/train_out/                      the candidate's: heartbeat, rung logits, weights, its own account of the training
T/predict_in/, predict_out/       images without labels, or windows of text; the candidate's logits
T/repeat_in/, repeat_out/         a tenth of them once more, in another order; the candidate's logits
T/private/                        trusted phases only: secret order, secret cuts, scores, losses row by row
T/program/outputs/                what the command of a target that is not sealed leaves
T/rounds/1/run/, reference/       where it runs in rounds: the folder of the command, and of the fixed program beside it
T/private/ended.json              for a trusted phase: how those before it went
T/private/grader/                 its grader's code and private data, and the outputs as they were taken
T/private/grader/rounds/1/        inputs of a round, what is expected, and the outputs as they were taken
T/logs/                           output of each phase, as far as the supervisor keeps it
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from swarm.trial.crash import last_words
from swarm.trial.files import read_json, read_tail, remove_tree

MAX_LOG_BYTES = 16 << 20
MAX_RUNG_BYTES = 1 << 20
_RUNGS = range(1, 100)


@dataclass(frozen=True)
class TrialFolder:
    """Names only; nothing has to exist. `root` is absolute."""

    root: Path

    @property
    def program(self) -> Path:
        return self.root / "program"

    @property
    def scratch(self) -> Path:
        return self.root / "scratch"

    @property
    def train_out(self) -> Path:
        return self.root / "train_out"

    @property
    def predict_in(self) -> Path:
        return self.root / "predict_in"

    @property
    def predict_out(self) -> Path:
        return self.root / "predict_out"

    @property
    def repeat_in(self) -> Path:
        return self.root / "repeat_in"

    @property
    def repeat_out(self) -> Path:
        return self.root / "repeat_out"

    @property
    def private(self) -> Path:
        return self.root / "private"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def order(self) -> Path:
        return self.root / "order.json"

    @property
    def attempt(self) -> Path:
        return self.root / "attempt.json"

    @property
    def config(self) -> Path:
        return self.root / "harness.json"

    @property
    def spec(self) -> Path:
        return self.root / "spec.json"

    @property
    def supervisor(self) -> Path:
        return self.root / "supervisor.json"

    @property
    def sessions(self) -> Path:
        return self.root / "sessions"

    @property
    def input(self) -> Path:
        """Standard input of its processes: empty, and open for writing, by which what is left over can be found."""
        return self.root / "input"

    @property
    def stop_reason(self) -> Path:
        return self.root / "stop_reason"

    @property
    def result(self) -> Path:
        return self.root / "result.json"

    @property
    def heartbeat(self) -> Path:
        return self.train_out / "heartbeat"

    @property
    def weights(self) -> Path:
        return self.train_out / "weights.pt"

    @property
    def train_report(self) -> Path:
        return self.train_out / "train.json"

    @property
    def oom_report(self) -> Path:
        return self.train_out / "oom.json"

    @property
    def oom_reports(self) -> tuple[Path, ...]:
        """Of every process of the candidate, each in its own output folder."""
        return tuple(folder / self.oom_report.name for folder in (self.train_out, self.predict_out, self.repeat_out))

    def rung_logits(self, percent: int) -> Path:
        return self.train_out / f"rung_{percent}.npy"

    def taken_rung(self, percent: int) -> Path:
        return self.private / f"rung_{percent}.npy"

    @property
    def images(self) -> Path:
        return self.predict_in / "images.npy"

    @property
    def windows(self) -> Path:
        return self.predict_in / "windows.npy"

    @property
    def logits(self) -> Path:
        return self.predict_out / "logits.npy"

    @property
    def repeat_images(self) -> Path:
        return self.repeat_in / "images.npy"

    @property
    def repeat_windows(self) -> Path:
        return self.repeat_in / "windows.npy"

    @property
    def repeat_logits(self) -> Path:
        return self.repeat_out / "logits.npy"

    @property
    def predict_report(self) -> Path:
        return self.predict_out / "predict.json"

    @property
    def image_order(self) -> Path:
        return self.private / "order.npy"

    @property
    def repeat_rows(self) -> Path:
        return self.private / "repeat.npy"

    @property
    def outputs(self) -> Path:
        """What a target's own command leaves."""
        return self.outputs_of("run")

    def outputs_of(self, phase: str) -> Path:
        """The same of one process, see `workplace`."""
        return self.workplace(phase) / "outputs"

    @property
    def rounds(self) -> Path:
        return self.root / "rounds"

    def workplace(self, phase: str) -> Path:
        """Where the command of a phase runs: `run`, or of a round `run.1` and `reference.1`."""
        kind, _, number = phase.partition(".")
        return self.rounds / number / kind if number else self.program

    @property
    def ended(self) -> Path:
        return self.private / "ended.json"

    @property
    def grader(self) -> Path:
        """Where a target's own grader runs: its code, private data, and the outputs that were taken."""
        return self.private / "grader"

    def made(self, number: int) -> Path:
        """Of a round, for the grader: its inputs, what is expected, and the outputs that were taken."""
        return self.grader / self.rounds.name / str(number)

    @property
    def times(self) -> Path:
        return self.grader / "rounds.json"

    @property
    def taken_outputs(self) -> Path:
        return self.grader / self.outputs.name

    @property
    def items(self) -> Path:
        """A grader's number for each item."""
        return self.private / "items.json"

    @property
    def cuts(self) -> Path:
        """Of text: before which place of each repeated window everything is as it was."""
        return self.private / "cuts.npy"

    @property
    def score(self) -> Path:
        return self.private / "score.json"

    @property
    def losses(self) -> Path:
        return self.private / "losses.npy"

    def rung_score(self, percent: int) -> Path:
        return self.private / f"rung_{percent}.json"

    @property
    def supervisor_log(self) -> Path:
        return self.log("supervisor")

    def log(self, phase: str) -> Path:
        return self.logs / f"{phase}.log"

    def make(self) -> None:
        """The folders, as far as they do not exist; `private` is for its owner alone."""
        for folder in (
            *(self.program, self.scratch, self.train_out, self.logs),
            *(self.predict_in, self.predict_out, self.repeat_in, self.repeat_out),
        ):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.private.mkdir(mode=0o700, exist_ok=True)

    def drop_working_files(self) -> None:
        """What no process of the trial needs once it is over."""
        for folder in (self.program, self.scratch, self.rounds):
            remove_tree(folder)

    def drop_predictions(self) -> None:
        """Images and logits, about 17 MB a trial; the score is made of them."""
        for folder in (self.predict_in, self.predict_out, self.repeat_in, self.repeat_out):
            remove_tree(folder)

    def remove(self) -> None:
        remove_tree(self.root)

    def rungs_reached(self) -> list[int]:
        """Percentages of the rungs that were taken, in order."""
        return [percent for percent in _RUNGS if self.taken_rung(percent).exists()]

    def rungs_scored(self) -> Iterator[dict[str, object]]:
        """What the scorer wrote for each rung, in order."""
        for percent in _RUNGS:
            if (fields := read_json(self.rung_score(percent))) is not None:
                yield fields

    def logged_runs(self) -> list[str]:
        """Phases of a target's own command that have a log: `run`, or of rounds `run.1` and so on."""
        return sorted((path.stem for path in self.logs.glob("run*.log")), key=lambda name: (len(name), name))

    def log_text(self, phase: str) -> str:
        """The output of a phase, at most its last MAX_LOG_BYTES; empty when there is none."""
        return read_tail(self.log(phase), MAX_LOG_BYTES).decode("utf-8", "replace")

    def log_tail(self, phase: str, lines: int = 6, limit: int = 800) -> str:
        """The end of a phase's output, or what its traceback says, as one short text for a person or a record."""
        return last_words(read_tail(self.log(phase), 16_384).decode("utf-8", "replace"), lines, limit)
