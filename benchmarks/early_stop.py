"""What early stopping saves: the same recorded trainings, with its decisions and without.

    python benchmarks/early_stop.py [--trials 40] [--budget-s 5] [--cache FILE] [--json]

The trials are the unchanged program five times (the noise floor) and then proposals by lot: one to three constants of
models/resnext (CPU profile) set anywhere in their declared spaces, so most are worse and some hopeless. Each is trained
once to its end with its rungs on, through the executor that studies use, on the stand-in data. The trainings go to
`--cache`, a JSON line each, and one that is there is not done again. Then a study is replayed from them: real
verdicts, and `early_stop.look` at each rung, in order. A pruned trial costs what it had used at that rung.

trials per hour, training    budget only: what is left to be gained as trainings get longer
trials per hour, whole       with start-up, prediction and scoring as recorded, and the delay between rung and kill
false prunes                 of the pruned trials, those whose recorded end beats the incumbent of that moment
audit                        the study's own estimate of it (`swarm status`), from the trials that it let go on

The proposals have no order of their own; `100 orders` is the mean over as many, each with its own audit. Not modelled:
a search that learns. All proposals start from the unchanged program, none is replicated, and so a lucky run can lead.
"""

import argparse
import hashlib
import json
import os
import random
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from overhead import ROOT, TARGET, make_repository, make_settings
from trials import order_of, outcome_of

from swarm import verdict
from swarm.admission import AdmissionController
from swarm.clock import SystemClock
from swarm.execution.executor import Outcome
from swarm.execution.local import LocalExecutor
from swarm.gpu import detect_probe
from swarm.harness.prepare import prepare
from swarm.program import constants
from swarm.program.families import family_of
from swarm.records import (
    Budget,
    FailReason,
    Operator,
    ProposalClaimed,
    Record,
    Scalar,
    Score,
    StudyOpened,
    TrialFinished,
    TrialStarted,
    TrialState,
)
from swarm.study.state import StudyState
from swarm.supervisor import Zygote
from swarm.target.file import load_target
from swarm.trial.contract import TRIAL_PHASES, code_root
from swarm.trial.files import read_json
from swarm.trial.heartbeat import read_beat
from swarm.verdict.early_stop import HOPELESS, RUNGS, false_prune_rate, look
from workers.proposers.spaces import at, differences, searched, values_of

NOISE_REPLICATES = 5
MOVED = (1, 1, 2, 3)  # constants a proposal moves, by lot
MEMORY_MIB = 4000
LEAST_WALL_S = 300.0  # a busy machine must not end a trial; what it works is limited all the same
ORDERS = 100
PROPOSALS_SEED = 1
REACTION_S = 1.5  # a worker looks at the rungs once a second, and their scorer is a process
NICE = 10


@dataclass(frozen=True)
class Proposed:
    """One trial to be trained. No changes: the unchanged program."""

    changes: dict[str, Scalar]
    seed: int


@dataclass(frozen=True)
class Recording:
    """One training, to its end. `loss` or `reason` is None.

    `used` is the share of the budget at its end, less than 1 only where it failed. `wall_s` is the whole trial,
    `train_s` of it the training loop, `after_s` of it what follows the training process; `rungs` are (progress, loss).
    """

    changes: dict[str, Scalar]
    seed: int
    loss: float | None
    reason: str | None
    rungs: tuple[tuple[float, float], ...]
    used: float
    wall_s: float
    train_s: float
    after_s: float


@dataclass(frozen=True)
class Ending:
    """What the replay did with one recording. `pruned_at` is None where it ran to its end.

    `beats`: its recorded loss is below the incumbent's mean at the decision. `marked`: pruned, or audited instead.
    """

    recording: Recording
    pruned_at: float | None
    marked: bool
    beats: bool

    @property
    def used(self) -> float:
        return self.recording.used if self.pruned_at is None else min(self.pruned_at, self.recording.used)

    @property
    def wall_s(self) -> float:
        """Of the whole trial. Pruned, it is without the rest of its training and what would have followed."""
        recorded = self.recording
        if self.pruned_at is None:
            return recorded.wall_s
        saved_s = (1 - self.pruned_at) * recorded.train_s + recorded.after_s - REACTION_S
        return recorded.wall_s - max(0.0, saved_s)


@dataclass(frozen=True)
class Replayed:
    """A study after its last trial."""

    endings: tuple[Ending, ...]
    study: StudyState

    @property
    def pruned(self) -> int:
        return sum(ending.pruned_at is not None for ending in self.endings)

    @property
    def wrong(self) -> int:
        return sum(ending.pruned_at is not None and ending.beats for ending in self.endings)

    @property
    def gain(self) -> float:
        """How many times as many trials fit into the same training budget."""
        return sum(ending.recording.used for ending in self.endings) / sum(ending.used for ending in self.endings)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=40, help="proposals after the noise floor")
    parser.add_argument("--budget-s", type=float, default=5.0, help="CPU seconds a training")
    parser.add_argument("--cache", type=Path, help="recorded trainings; goes on where the file ends")
    parser.add_argument("--json", action="store_true", help="the figures alone, one JSON line each")
    options = parser.parse_args()
    cache = options.cache or Path(tempfile.mkdtemp(prefix="early-stop-")) / "trainings.jsonl"
    os.nice(NICE)
    recordings = record(proposed(base_source(), options.trials, PROPOSALS_SEED), options.budget_s, cache)
    replayed = replay(recordings, "early-stop")
    others = [replay(in_another_order(recordings, seed), f"order-{seed}") for seed in range(ORDERS)]
    if not options.json:
        print_table(replayed, options.budget_s)
    for figure in figures(replayed, others, options.budget_s):
        print(json.dumps(figure))
    return 0


def base_source() -> str:
    """The program of models/resnext with the constants of its CPU profile."""
    target = load_target("resnext", ROOT)
    return target.base_source((ROOT / target.editable_path).read_text(), target.profiles.cpu)


def proposed(source: str, count: int, seed: int) -> list[Proposed]:
    """The noise floor, then `count` different proposals by lot. Each trial has a seed of its own."""
    rng, spaces, base = random.Random(seed), searched(source), values_of(source)
    found: list[dict[str, Scalar]] = []
    while len(found) < count:
        names = rng.sample(list(spaces), rng.choice(MOVED))
        changes = differences(spaces, base, {name: at(spaces[name], rng.random()) for name in names})
        if changes and changes not in found:
            found.append(changes)
    return [Proposed(changes, 1 + place) for place, changes in enumerate([{}] * NOISE_REPLICATES + found)]


def record(trials: Sequence[Proposed], budget_s: float, cache: Path) -> list[Recording]:
    """Trains what the cache does not hold yet, in order, and returns all."""
    source = base_source()
    keys = [key_of(constants.assign(source, trial.changes), trial.seed, budget_s) for trial in trials]
    known = read_cache(cache)
    owed = [(key, trial) for key, trial in zip(keys, trials, strict=True) if key not in known]
    print(f"{len(trials) - len(owed)} of {len(trials)} trainings are in {cache}", file=sys.stderr, flush=True)
    if owed:
        for place, (key, recording) in enumerate(train_all(owed, source, budget_s), start=1):
            refuse_broken_floor(recording)
            known[key] = recording
            with cache.open("a") as file:
                file.write(json.dumps({"key": key, **asdict(recording)}) + "\n")
            told = recording.reason or f"loss {recording.loss:.4f}"
            print(f"{place}/{len(owed)}: {recording.changes or 'baseline'}: {told}", file=sys.stderr, flush=True)
    return [known[key] for key in keys]


def refuse_broken_floor(recording: Recording) -> None:
    """Raises RuntimeError where the unchanged program failed: that is no result of a proposal, and is not recorded."""
    if not recording.changes and recording.loss is None:
        raise RuntimeError(
            f"the unchanged program ended without a loss ({recording.reason}), so there is nothing to compare with: a "
            "machine too busy or too small, or a broken harness. The same --cache goes on with what is recorded."
        )


def key_of(program: str, seed: int, budget_s: float) -> str:
    """One text for what decides a training: program, seed, budget and data."""
    parts = [program, seed, budget_s, prepare("standin").version]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]


def read_cache(cache: Path) -> dict[str, Recording]:
    """Recordings by key; an unfinished last line is left out."""
    if not cache.exists():
        return {}
    lines = [json.loads(line) for line in cache.read_text().splitlines(keepends=True) if line.endswith("\n")]
    return {line.pop("key"): Recording(**{**line, "rungs": tuple(map(tuple, line["rungs"]))}) for line in lines}


def train_all(owed: Sequence[tuple[str, Proposed]], source: str, budget_s: float) -> Iterator[tuple[str, Recording]]:
    """One after the other through the executor, forked from a warm process."""
    with tempfile.TemporaryDirectory(prefix="early-stop-") as name:
        folder = Path(name)
        zygote = Zygote.start("swarm.harness.preload", folder / "zygote.sock", pythonpath=(str(code_root()),))
        try:
            trainings = Trainings(folder, zygote, budget_s)
            for number, (key, trial) in enumerate(owed, start=1):
                yield key, trainings.run(f"t{number:04}", constants.assign(source, trial.changes), trial)
        finally:
            zygote.stop()


class Trainings:
    """A repository with the target in it, and an executor for its trials."""

    def __init__(self, folder: Path, zygote: Zygote, budget_s: float) -> None:
        self._repo = make_repository(folder / "repo")
        budget = Budget(kind="solo_seconds", amount=budget_s, walltime_limit_s=max(LEAST_WALL_S, 20 * budget_s))
        self._settings = make_settings(self._repo).model_copy(update={"budget": budget, "memory_mib": MEMORY_MIB})
        self._admission = AdmissionController(folder / "ledger", detect_probe("cpu"), SystemClock())
        self._executor = LocalExecutor(
            self._settings.layout.trials(self._settings.study_id),
            self._settings.data_dir,
            self._admission,
            SystemClock(),
            zygote=zygote.socket_path,
        )

    def run(self, trial_id: str, program: str, trial: Proposed) -> Recording:
        study = self._settings.study_id
        commit = self._repo.commit_change(
            self._repo.head(), {f"{TARGET}/train.py": program}, trial_id, f"refs/swarm/{study}/{trial_id}"
        )
        outcome = outcome_of(self._executor, order_of(self._settings, self._repo, trial_id, commit, trial.seed, RUNGS))
        folder = self._settings.layout.trial(study, trial_id)
        beat, told = read_beat(folder.heartbeat), read_json(folder.train_report) or {}
        return recording_of(trial, outcome, beat.progress if beat is not None else 0.0, told.get("wall_seconds"))


def recording_of(trial: Proposed, outcome: Outcome, progress: float, train_s: object) -> Recording:
    used = outcome.resources
    assert used is not None and used.wall_s is not None, outcome.detail
    return Recording(
        changes=trial.changes,
        seed=trial.seed,
        loss=outcome.score.validation_loss if outcome.score is not None else None,
        reason=outcome.reason.value if outcome.reason is not None else None,
        rungs=outcome.rungs,
        used=1.0 if outcome.score is not None else progress,
        wall_s=used.wall_s,
        train_s=train_s if isinstance(train_s, float) else 0.0,
        after_s=round(sum(used.overhead_s.get(phase, 0.0) for phase in TRIAL_PHASES[1:]), 3),
    )


def in_another_order(recordings: Sequence[Recording], seed: int) -> list[Recording]:
    """The noise floor first, as in a study, and the proposals by lot."""
    floor = [recording for recording in recordings if not recording.changes]
    rest = [recording for recording in recordings if recording.changes]
    random.Random(seed).shuffle(rest)
    return floor + rest


def replay(recordings: Sequence[Recording], study_id: str) -> Replayed:
    """The study of these trials in this order, with early stopping on. Its name decides who is audited."""
    writer = Writer(study_id)
    endings = tuple(writer.trial(recording) for recording in recordings)
    return Replayed(endings, writer.study)


class Writer:
    """A study in memory, filled as the workers would: claim, start, looks at the rungs, end, verdicts."""

    def __init__(self, study_id: str) -> None:
        self._seq = 0
        self.study = StudyState(opened(study_id))

    def trial(self, recording: Recording) -> Ending:
        trial_id = self._begin(recording)
        incumbent = self.study.incumbent
        bar = incumbent.mean if incumbent is not None else None
        pruned_at, audited = self._look(trial_id, recording)
        ending = Ending(
            recording,
            pruned_at,
            marked=audited or pruned_at is not None,
            beats=recording.loss is not None and bar is not None and recording.loss < bar,
        )
        self._apply(finished(trial_id, ending))
        for reached in verdict.conclude(self.study, trial_id):
            self._apply(reached)
        return ending

    def _begin(self, recording: Recording) -> str:
        trial_id, base = self.study.next_trial_id, self.study.baseline
        changed = recording.changes
        first = base.name if base is not None and not changed else trial_id
        claim = ProposalClaimed(
            trial_id=trial_id,
            operator=Operator.TUNE if changed else Operator.BASELINE,
            family=family_of(next(iter(changed))) if changed else "baseline",
            parent=base.name if base is not None and changed else None,
            program=first,
            tree_sha256=first,
            seed=recording.seed,
            read_seq=self._seq,
            proposer="recorded",
        )
        self._apply(claim)
        self._apply(TrialStarted(trial_id=trial_id, commit=first, reservation_mib=0, lease_id="", device_uuid="cpu"))
        return trial_id

    def _look(self, trial_id: str, recording: Recording) -> tuple[float | None, bool]:
        """Where early stopping ends the trial (None: nowhere), and whether it was let go on as a check."""
        for progress, loss in recording.rungs:
            match look(self.study, trial_id, progress, loss).action:
                case "stop":
                    return progress, False
                case "audit":
                    return None, True
        return None, False

    def _apply(self, record: Record) -> None:
        self._seq += 1
        self.study.apply(record.model_copy(update={"seq": self._seq, "study_id": self.study.study_id}))


def finished(trial_id: str, ending: Ending) -> TrialFinished:
    """The record of a trial's end, as the worker would have written it."""
    recorded, loss = ending.recording, ending.recording.loss
    ran_on = ending.pruned_at is None
    if ran_on and loss is not None:
        return TrialFinished(
            trial_id=trial_id,
            state=TrialState.COMPLETE,
            score=Score(validation_loss=loss, top1=0.0, top5=0.0, calibrated_loss=loss, rows=5000),
            validation_loss=loss,
            seed=recorded.seed,
            rungs=recorded.rungs,
            audit=ending.marked,
        )
    return TrialFinished(
        trial_id=trial_id,
        state=TrialState.FAILED,
        reason=FailReason(recorded.reason) if ran_on else FailReason.PRUNED,
        seed=recorded.seed,
        rungs=tuple(rung for rung in recorded.rungs if ran_on or rung[0] <= (ending.pruned_at or 0.0)),
        audit=ending.marked and ran_on,
    )


def opened(study_id: str) -> StudyOpened:
    return StudyOpened(
        study_id=study_id,
        target="resnext",
        target_folder=TARGET,
        editable="train.py",
        base_commit="",
        base_tree_sha256="",
        objective_sha256="",
        harness_sha256="",
        program_sha256="",
        budget=Budget(kind="solo_seconds", amount=1, walltime_limit_s=1),
        data="standin",
        classes=100,
        device="cpu",
        device_name="cpu",
        workers=1,
        seed=0,
        noise_replicates=NOISE_REPLICATES,
    )


def figures(replayed: Replayed, others: Sequence[Replayed], budget_s: float) -> list[dict[str, object]]:
    endings = replayed.endings
    count, audit = len(endings), false_prune_rate(replayed.study)
    with_s, without_s = (
        budget_s * sum(used) for used in zip(*((e.used, e.recording.used) for e in endings), strict=True)
    )
    whole_s, whole_without_s = (sum(s) for s in zip(*((e.wall_s, e.recording.wall_s) for e in endings), strict=True))
    wrong, pruned = (sum(counts) for counts in zip(*((one.wrong, one.pruned) for one in others), strict=True))
    would_win = sum(ending.beats for ending in endings if ending.recording.changes)
    hour, share = "trials per hour", "share of pruned trials"
    facts: dict[str, object] = {"pruned": replayed.pruned, "failed": sum(e.recording.loss is None for e in endings)}
    gains = [one.gain for one in others]
    return [
        {**figure(f"{hour}, training", 3600 * count / with_s, 3600 * count / without_s, hour, count), **facts},
        {**figure(f"{hour}, whole", 3600 * count / whole_s, 3600 * count / whole_without_s, hour, count), **facts},
        figure(f"{hour}, training, {len(others)} orders", *mean_rates(gains, count, without_s), hour, count),
        {
            **figure("false prunes", rate(replayed.wrong, replayed.pruned), HOPELESS, share, replayed.pruned),
            "wrong": replayed.wrong,
            "beat_the_incumbent_without": would_win,
        },
        figure(f"false prunes, {len(others)} orders", rate(wrong, pruned), HOPELESS, share, pruned),
        figure("audit", audit.rate, rate(replayed.wrong, replayed.pruned), "share of audited trials", audit.audited),
    ]


def mean_rates(gains: Sequence[float], count: int, without_s: float) -> tuple[float, float]:
    """Trials per hour with the mean gain, and without."""
    without = 3600 * count / without_s
    return statistics.fmean(gains) * without, without


def rate(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def figure(name: str, ours: float | None, baseline: float | None, unit: str, count: int) -> dict[str, object]:
    known = ours is not None and baseline is not None and baseline > 0.0
    return {
        "bench": f"early_stop {name}",
        "ours": None if ours is None else round(ours, 4),
        "baseline": None if baseline is None else round(baseline, 4),
        "ratio": round(ours / baseline, 4) if known else None,
        "unit": unit,
        "n": count,
    }


def print_table(replayed: Replayed, budget_s: float) -> None:
    """One line a proposal: what it changed, its loss, and what early stopping did."""
    print(f"{len(replayed.endings)} trials of {budget_s:g} CPU s\n")
    print("| trial | changes | loss | early stopping |\n|---|---|---|---|")
    for number, ending in enumerate(replayed.endings, start=1):
        recorded = ending.recording
        changes = ", ".join(f"{name}={value}" for name, value in recorded.changes.items()) or "baseline"
        result = recorded.reason or f"{recorded.loss:.4f}"
        print(f"| t{number:04} | {changes} | {result} | {told(ending)} |")
    print()


def told(ending: Ending) -> str:
    if ending.pruned_at is None:
        return "audited" if ending.marked else ""
    return f"pruned at {ending.pruned_at:.0%}" + (", wrongly" if ending.beats else "")


if __name__ == "__main__":
    sys.exit(main())
