"""Everything of a study is killed at once: do its processes stay dead, is the memory back, does the study go on?"""

import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psutil
from evening_run import Evening, Figures, StepFailed, end_session

from swarm.admission import default_root
from swarm.admission.status import status
from swarm.brain import Brain
from swarm.clock import SystemClock
from swarm.gpu import detect_probe
from swarm.study.state import StudyState

GONE_WITHIN_S = 20.0
BACK_MIB = 64


def kill_of_everything(evening: Evening, arguments: Sequence[str], repository: Path) -> Figures:
    probe = detect_probe(evening.device)
    before_mib = sum(reading.free_mib for reading in probe.read())
    process = evening.start(arguments, evening.folder / "kill.log", repository)
    try:
        while len(_training(repository)) < 2:
            if process.poll() is not None:
                raise StepFailed((evening.folder / "kill.log").read_text(errors="replace")[-1500:])
            evening.wait(0.5)
        evening.wait(2.0)
        found = processes_of(repository)
        for one in found:
            with suppress(psutil.NoSuchProcess):
                one.kill()
        killed_s = time.monotonic()
    finally:
        end_session(process)
    gone_s = _until(evening, lambda: not processes_of(repository), killed_s)
    figures: Figures = {"killed": len(found), "processes_gone_s": gone_s}
    if evening.device == "cuda":
        # Of a CPU's memory others have their share: what is free says nothing about us.
        back_s = _until(evening, lambda: sum(r.free_mib for r in probe.read()) >= before_mib - BACK_MIB, killed_s)
        figures["memory_back_s"] = back_s
    held = [h for device in status(default_root(), probe).devices for h in device.holders if not h.draining]
    study = _study(repository)
    ours = [holder.trial_id for holder in held if study is not None and holder.study_id == study.study_id]
    if ours:
        raise StepFailed(f"leases are still held by {', '.join(ours)}")
    assert study is not None, "two trials of it were running"
    trials = len(study.trials)
    said = evening.command(
        [*_without_limits(arguments), "--resume", "--trials", str(trials)], cwd=repository, log="resume"
    )
    after = _study(repository)
    if said.code != 0 or after is None:
        raise StepFailed(f"--resume ended with {said.code}: {said.text[-1200:]}")
    open_trials = len(after.open_trials())
    if open_trials:
        raise StepFailed(f"{open_trials} trials are open after --resume")
    return {**figures, "trials_ended_after_resume": len(after.finished_trials()), "leases_left": 0}


def processes_of(repository: Path) -> list[psutil.Process]:
    """Those that work inside the folder, or name it on their command line."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            inside = process.cwd().startswith(str(repository))
            named = any(str(repository) in word for word in process.cmdline())
            if (inside or named) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def _until(evening: Evening, holds, since_s: float) -> float:
    """Seconds until it held. Raises StepFailed after GONE_WITHIN_S."""
    while not holds():
        if time.monotonic() - since_s > GONE_WITHIN_S:
            left = "; ".join(f"{p.pid} {' '.join(p.cmdline())[:80]}" for p in psutil.process_iter() if p.is_running())
            raise StepFailed(f"not within {GONE_WITHIN_S:.0f} s: {left[:600]}")
        evening.wait(0.1)
    return round(time.monotonic() - since_s, 2)


def _study(repository: Path) -> StudyState | None:
    return Brain(repository / "swarm_brain.jsonl", clock=SystemClock()).snapshot().latest


def _training(repository: Path) -> list[str]:
    if not (repository / "swarm_brain.jsonl").exists():
        return []
    study = _study(repository)
    return [one.trial_id for one in study.open_trials() if one.started is not None] if study is not None else []


def _without_limits(arguments: Sequence[str]) -> list[str]:
    """The command for going on: what a trial runs on stays as it was."""
    pairs = list(zip(arguments[3::2], arguments[4::2], strict=True))
    return [*arguments[:3], *(word for flag, value in pairs if flag == "--workers" for word in (flag, value))]
