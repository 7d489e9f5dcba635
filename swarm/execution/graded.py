"""Trials of targets that are not sealed: how they are laid out, and what is read from them once they are over.

run    the target's command, sandboxed: reads its copy of the target's folder without what is private; where it is
       timed it runs in rounds (see `swarm.execution.rounds`)
grade  trusted: takes the declared outputs and runs the grader, or reads what was printed
"""

import re
from dataclasses import replace
from pathlib import Path

from swarm.admission import Lease, default_root
from swarm.errors import TrialError
from swarm.execution.attempt import Attempt, explain, read_score
from swarm.execution.evidence import Evidence, Terms, TrainReport
from swarm.execution.executor import TrialOrder
from swarm.execution.phases import LOG_LIMIT_BYTES, UNTOUCHED_MIB
from swarm.execution.rounds import of_reference, processes_of, round_phases, runs_of, without_reference
from swarm.grading.config import DeclaredOutput, GradedConfig
from swarm.program.globs import may_change
from swarm.records import Budget, FailReason, Grading, Score, TargetTerms
from swarm.supervisor import PhaseResult, PhaseSpec, TrialResult, TrialSpec
from swarm.trial.contract import Phase, code_root, harness_folders
from swarm.trial.files import read_json
from swarm.trial.folder import TrialFolder

SELF_REPORTED = "self_reported"
ALLOWANCE_S, ALLOWANCE_SHARE = 1.0, 0.03  # CPU seconds beside the budget: the start of an interpreter, and the end
GRADE_MARGIN_S = 30.0  # for taking the outputs, beside the grader's own limit
_LACKS_MEMORY = re.compile(r"(?:\w+\.)*(?:\w*MemoryError|OutOfMemoryError)\b")
_DENIED = re.compile(r"Permission denied|Operation not permitted|Read-only file system|Invalid cross-device link")
_FORGED = re.compile(r"^\s*(METRIC\s+\w+\s*=|\{\s*\"metrics\"\s*:)", re.MULTILINE)  # a number that nobody asked it for
_PRIED = re.compile(
    r"/proc/(?:self|\d+)/(?:fd|environ|mem|maps|root|cwd)\b|\.\./(?:private|order\.json|result\.json|harness\.json)"
)
_UNITS = {"solo_seconds": "cpu_seconds", "seconds": "seconds", "samples": "samples"}


def lay_out_graded(folder: TrialFolder, order: TrialOrder, lease: Lease) -> TrialSpec:
    """Makes the trial's folder: what the command sees, what only the grader sees, and what both phases are told."""
    assert order.grading is not None, "the target is not sealed"
    folder.make()
    _lay_out_programs(folder, order, order.grading)
    if order.grading.grade:
        _write(folder.grader, seen_by_grader(order.files, order.terms, order.grading, order.split))
        folder.grader.mkdir(mode=0o700, exist_ok=True)
    folder.config.write_text(_config(folder, order, order.grading).to_json(), encoding="utf-8")
    return TrialSpec(
        study_id=order.study_id,
        trial_id=order.trial_id,
        folder=str(folder.root),
        phases=_phases(folder, order, order.grading),
        env=dict(lease.env),
        sandbox=order.sandbox,
        memory_limit_mib=lease.cap_mib + UNTOUCHED_MIB if order.device == "cpu" else None,
        log_limit_bytes=LOG_LIMIT_BYTES,
        pythonpath=(str(code_root()),),
        cores=order.threads if order.device == "cpu" or order.grading.rounds is not None else 0,
        cores_folder=str(default_root() / "cores"),
    )


def _lay_out_programs(folder: TrialFolder, order: TrialOrder, grading: Grading) -> None:
    seen, rounds = seen_by_command(order.files, grading, order.split), grading.rounds
    places = [(Phase.RUN.value, without_reference(seen, rounds))]
    if rounds is not None:
        numbers = range(1, rounds.count + 1)
        places = [(f"run.{number}", without_reference(seen, rounds)) for number in numbers]
        places += [(f"reference.{number}", of_reference(seen, order.terms, rounds)) for number in numbers]
    for phase, files in places:
        _write(folder.workplace(phase), files)
        folder.outputs_of(phase).mkdir(mode=0o700, parents=True)


def seen_by_command(files: dict[str, bytes], grading: Grading, split: str) -> dict[str, bytes]:
    """All of the target's folder but what is private; for the test split with its inputs in the place of the others."""
    hidden = (grading.private, grading.test_private, grading.test_inputs)
    seen = {path: content for path, content in files.items() if not _is_below(path, hidden) and path != "outputs"}
    if split == "test" and grading.test_inputs:
        seen = {path: content for path, content in seen.items() if not _is_below(path, (grading.inputs,))}
        seen.update(_moved(files, grading.test_inputs, grading.inputs))
    return {path: content for path, content in seen.items() if not _is_below(path, ("outputs",))}


def seen_by_grader(files: dict[str, bytes], terms: TargetTerms, grading: Grading, split: str) -> dict[str, bytes]:
    """All of the target's folder but what a candidate may have written."""
    hidden = (grading.test_private, grading.test_inputs, "outputs")
    seen = {path: c for path, c in files.items() if not may_change(path, terms) and not _is_below(path, hidden)}
    if split == "test" and grading.test_private:
        folders = (grading.inputs, grading.private)
        seen = {path: content for path, content in seen.items() if not _is_below(path, folders)}
        seen.update(_moved(files, grading.test_inputs, grading.inputs))
        seen.update(_moved(files, grading.test_private, grading.private))
    return seen


def read_graded(folder: TrialFolder, result: TrialResult, order: TrialOrder, terms: Terms) -> Attempt:
    """What a finished trial's folder says. Raises TrialError for a failed set-up, which is not a failed trial."""
    evidence = Evidence(folder, result, terms, TrainReport(), reported=False)
    found = Attempt(evidence, flags=_flags(folder, result, order))
    if (failed := evidence.failed_phase) is not None:
        if failed.ready_s is None and failed.exit_code not in (None, 0):
            raise TrialError(f"phase {failed.name} could not be set up: {folder.log_tail(failed.name)}")
        reason, detail = explain_graded(failed, result.stopped_reason, folder.log_tail(failed.name))
        return replace(found, reason=reason, detail=detail)
    score = read_score(folder)
    if isinstance(score, str):
        away = (read_json(folder.score) or {}).get("away") is True
        return replace(found, reason=FailReason.ABANDONED if away else FailReason.INVALID_OUTPUT, detail=score)
    return replace(found, score=_with_own_metrics(score, result))


def explain_graded(phase: PhaseResult, stopped_reason: str | None, tail: str) -> tuple[FailReason, str]:
    """Why a phase ended the trial. The exit code of a command means nothing but failure; its last words may name a lack
    of memory, which is believed: all that it gains is the same trial with more memory."""
    if phase.ending == "exit":
        last = tail.splitlines()[-1] if tail else ""
        reason = FailReason.OUT_OF_MEMORY if _LACKS_MEMORY.match(last) else FailReason.CRASHED
        return reason, f"{phase.name} ended with exit code {phase.exit_code}. {tail}".strip()
    return explain(phase, stopped_reason, tail)


def _with_own_metrics(score: Score, result: TrialResult) -> Score:
    """What the supervisor has measured itself, under names that no grader can take."""
    runs = runs_of(result)
    own = {
        "run.seconds": round(sum(run.own_s for run in runs), 4),
        "run.cpu_seconds": round(sum(run.own_cpu_s for run in runs), 4),
        "run.peak_mib": round(max(run.peak_rss_mib for run in runs), 1),
    }
    return score.model_copy(update={"metrics": {**score.metrics, **own}})


def _flags(folder: TrialFolder, result: TrialResult, order: TrialOrder) -> tuple[str, ...]:
    runs = runs_of(result)
    log = "\n".join(folder.log_text(run.name) for run in runs)
    odd = {
        SELF_REPORTED: order.terms.grade == "self-reported",
        "forged": order.terms.grade == "graded" and _FORGED.search(log) is not None,
        "denied": _DENIED.search(log) is not None,
        "pried": _PRIED.search(log) is not None,
        "left_processes": any(run.left_processes for run in runs),
    }
    told = (read_json(folder.score) or {}).get("flags", [])
    return (*(name for name, is_odd in odd.items() if is_odd), *(told if isinstance(told, list) else ()))


def _phases(folder: TrialFolder, order: TrialOrder, grading: Grading) -> tuple[PhaseSpec, ...]:
    run = PhaseSpec(
        name=Phase.RUN,
        module=Phase.RUN.module,
        trusted=False,
        walltime_limit_s=_walltime_limit_s(order.budget) / processes_of(grading.rounds),
        cpu_limit_s=_cpu_limit_s(order),
        read=(*map(str, harness_folders()), str(folder.config), str(folder.program), *grading.read),
        write=(str(folder.scratch), str(folder.outputs)),
        holds_lease=True,
        threads=order.threads,
        gpu=order.device == "cuda",
        processes=True,
    )
    grade_limit_s = grading.grade_limit_s + GRADE_MARGIN_S
    grade = PhaseSpec(
        Phase.GRADE,
        Phase.GRADE.module,
        trusted=True,
        walltime_limit_s=grade_limit_s,
        environment=grading.environment,
    )
    if grading.rounds is None:
        return run, grade
    make = PhaseSpec(Phase.MAKE, Phase.MAKE.module, trusted=True, walltime_limit_s=grade_limit_s)
    return make, *round_phases(folder, run, grading.rounds), grade


def _walltime_limit_s(budget: Budget) -> float:
    return min(budget.walltime_limit_s, budget.amount) if budget.kind == "seconds" else budget.walltime_limit_s


def _cpu_limit_s(order: TrialOrder) -> float | None:
    """CPU seconds after which the command is over its budget; on a GPU only the wall is limited."""
    if order.device != "cpu" or order.budget.kind != "solo_seconds":
        return None
    rounds = order.grading.rounds if order.grading is not None else None
    return (1 + ALLOWANCE_SHARE) * order.budget.amount / processes_of(rounds) + ALLOWANCE_S


def _config(folder: TrialFolder, order: TrialOrder, grading: Grading) -> GradedConfig:
    names = (*(one.name for one in order.terms.guards), *(one.name for one in order.terms.reports))
    return GradedConfig(
        root=folder.root,
        seed=order.seed,
        budget=order.budget.amount,
        budget_unit=_UNITS[order.budget.kind],
        device=order.device,
        run=grading.run,
        grade=grading.grade,
        wanted=(grading.metric, *(name for name in names if not name.startswith("run."))),
        outputs=tuple(DeclaredOutput(o.name, o.type, o.dtype, o.shape, o.max_bytes) for o in grading.outputs),
        grade_limit_s=grading.grade_limit_s,
        needs_items=order.terms.noise != "seeds",
        environment=grading.environment,
        rounds=grading.rounds.count if grading.rounds is not None else 0,
        make=grading.rounds.make if grading.rounds is not None else (),
        inputs=grading.inputs,
    )


def _moved(files: dict[str, bytes], source: str, to: str) -> dict[str, bytes]:
    return {to + path.removeprefix(source): content for path, content in files.items() if _is_below(path, (source,))}


def _is_below(path: str, folders: tuple[str, ...]) -> bool:
    return any(folder and (path == folder or path.startswith(f"{folder}/")) for folder in folders)


def _write(folder: Path, files: dict[str, bytes]) -> None:
    for path, content in files.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
