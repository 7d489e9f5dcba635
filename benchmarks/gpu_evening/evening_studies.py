"""The third part: whole studies in a throw-away repository, as `swarm up` runs them."""

import json
import shutil
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from evening_kill import kill_of_everything
from evening_run import Evening, Figures, Step, StepFailed

from swarm.brain import Brain
from swarm.clock import SystemClock
from swarm.study.state import StudyState, Trial

USER = ("-c", "user.name=gpu-evening", "-c", "user.email=gpu-evening@example.org")
COMPILED_BUDGET_S = 120.0  # the least that the harness compiles for
OVER_THE_CARD, OVER_ITS_CAP, COMPILES = "asks for more than any card", "passes its cap half-way", "compiles by itself"


def study_steps(evening: Evening) -> list[Step]:
    return [
        Step("study, one worker", 500, lambda at: _rate(at, workers=1)),
        Step("study, two workers", 500, lambda at: _rate(at, workers=2)),
        Step("programs that lack memory or compile", 480, _bad_programs),
        Step("a kill of everything", 240, _kill),
    ]


def _kill(evening: Evening) -> Figures:
    """Long enough to be in the middle of a training when it happens; what was running runs again afterwards."""
    budget_s = 6.0 if evening.device == "cpu" else 20.0
    return kill_of_everything(evening, *_up(evening, "kill", workers=2, trials=50, budget_s=budget_s))


def _rate(evening: Evening, workers: int) -> Figures:
    """Runs of the unchanged program: how many an hour, what each costs beside its training, how much they overlap."""
    budget_s = COMPILED_BUDGET_S if evening.device == "cuda" and not evening.short else None
    trials = 2 if budget_s else ((2 if workers == 1 else 4) if evening.short else (4 if workers == 1 else 8))
    study = _run_study(evening, f"rate{workers}", workers, trials, budget_s=budget_s)
    done = _complete(study)
    resources = [one.finished.resources for one in done if one.finished and one.finished.resources]
    spans = [one.seconds for one in done if one.seconds]
    hours = (max(end for _, end in spans) - min(start for start, _ in spans)) / 3600
    overheads = [sum(one.overhead_s.values()) for one in resources]
    wall_s = sum(one.wall_s or 0.0 for one in resources)
    return {
        "trials": len(done),
        "budget_s": study.opened.budget.amount,
        "trials_per_hour": round(len(done) / hours, 1),
        "overhead_p50_s": round(statistics.median(overheads), 2),
        "overlap_share": round(sum(one.overlap_s or 0.0 for one in resources) / wall_s, 3),
        "reserved_mib": max(one.reservation_mib or 0 for one in resources),
        "peak_mib": max(one.peak_mib or 0 for one in resources),
        "reserved_by": ", ".join(sorted({one.reserved_by or "?" for one in resources})),
        "solo_rate": resources[0].solo_rate,
        "compilation": resources[0].compilation,
        "sandbox": ", ".join(sorted({str(one.finished.sandbox) for one in done if one.finished})),
        "flags": ", ".join(sorted({flag for one in done if one.finished for flag in one.finished.flags})),
    }


def _bad_programs(evening: Evening) -> Figures:
    """What became of each: its state or reason, and its attempts."""
    script = evening.folder / "programs.jsonl"
    lines = _programs(evening.device)
    script.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    study = _run_study(evening, "programs", 2, 5 + len(lines), "--proposer", f"scripted:{script}")
    figures: Figures = {"complete": len(_complete(study)), "trials": len(study.trials)}
    for trial in study.trials.values():
        if trial.claim.description in (OVER_THE_CARD, OVER_ITS_CAP, COMPILES) and trial.finished is not None:
            ended = trial.finished
            resources = ended.resources
            text = f"{ended.reason or ended.state}, {ended.attempts} attempts"
            if resources is not None and resources.compilation is not None:
                text += f", {resources.compilation}"
            figures.setdefault(trial.claim.description, text)
    neighbours = [one for one in study.trials.values() if one.claim.description not in figures]
    lost = [one.trial_id for one in neighbours if one.cost is None]
    if lost:
        raise StepFailed(f"trials that should be complete are not: {', '.join(lost)}; {figures}")
    return figures


def _programs(device: str) -> list[dict[str, object]]:
    train, report = "    train = data.train()\n", "        clock.report(loss)\n"
    late = (
        'if clock.progress > 0.5 and "kept" not in optimizer.defaults:\n'
        '            optimizer.defaults["kept"] = torch.empty(1 << 30, device=device)'
    )
    lines: list[dict[str, object]] = [
        _line(OVER_THE_CARD, train, f"    hoard = [torch.empty(1 << 30, device=device) for _ in range(200)]\n{train}"),
        _line(OVER_ITS_CAP, report, f"{report}        {late}\n"),
    ]
    if device == "cuda":
        network = "network = compiled(model) if COMPILE else model"
        lines.append(_line(COMPILES, network, "network = torch.compile(model)"))
    return lines


def _line(description: str, search: str, replace: str) -> dict[str, object]:
    return {"description": description, "edits": [{"search": search, "replace": replace}], "operator": "structural"}


def _run_study(
    evening: Evening, name: str, workers: int, trials: int, *more: str, budget_s: float | None = None
) -> StudyState:
    """Raises StepFailed unless it ends by itself."""
    arguments, repository = _up(evening, name, workers, trials, budget_s)
    said = evening.command([*arguments, *more], cwd=repository, log=name)
    if said.code != 0:
        raise StepFailed(said.text[-1500:])
    return study_in(repository)


def study_in(repository: Path) -> StudyState:
    study = Brain(repository / "swarm_brain.jsonl", clock=SystemClock()).snapshot().latest
    if study is None:
        raise StepFailed("there is no study in the brain")
    return study


def _up(
    evening: Evening, name: str, workers: int, trials: int, budget_s: float | None = None
) -> tuple[Sequence[str], Path]:
    """The command of a study, and the fresh repository that it is run in."""
    repository = evening.folder / "repositories" / name
    if repository.exists():
        shutil.rmtree(repository)
    shutil.copytree(evening.root / "models", repository / "models")
    for command in (("init", "-q"), ("add", "--all"), (*USER, "commit", "-q", "--no-verify", "-m", "targets")):
        subprocess.run(["git", *command], cwd=repository, check=True, capture_output=True)
    if budget_s is None:
        budget_s = (2.0 if evening.device == "cpu" else 8.0) if evening.short else 20.0
    flags: Mapping[str, object] = {
        "--device": evening.device,
        "--data": "standin",
        "--sandbox": "strict",
        "--workers": workers,
        "--trials": trials,
        "--budget-s": budget_s,
        "--proposer": "embedded",
    }
    return ["-m", "swarm", "up", *(str(word) for pair in flags.items() for word in pair)], repository


def _complete(study: StudyState) -> list[Trial]:
    done = [trial for trial in study.trials.values() if trial.cost is not None]
    if len(done) < 2:
        said = [
            f"{one.trial_id}: {one.finished.reason} {one.finished.detail}"
            for one in study.finished_trials()
            if one.finished
        ]
        raise StepFailed(f"{len(done)} trials have a score. {'; '.join(said)[-1200:]}")
    return done
