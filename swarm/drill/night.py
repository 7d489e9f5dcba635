"""One night: bad programs among good ones, each kind of process killed, stale locks and a torn line on the way."""

import json
import os
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from swarm.brain import verify
from swarm.drill.finding import Fault, Finding, Scene
from swarm.drill.playground import Playground, kill, playground
from swarm.drill.target import HANGER, HOARDER, HOSTILE, LIAR, WALLTIME_LIMIT_S, write_script
from swarm.records import FailReason, TrialState
from swarm.study.overlap import overlapping_pairs
from swarm.study.state import StudyState, Trial

WORKER = "A killed worker is replaced and its trial is not lost."
SUPERVISOR = "A killed supervisor: nothing of its trial lives on, and it runs again."
TRAINING = "A killed training is a crash in the record, and the study goes on."
ZYGOTE = "A killed warm process is started again, or trials start cold."
RESUME = "A killed orchestrator: `--resume` goes on with two workers."
ENDINGS = "Each claimed trial has exactly one ending."
LIES = "What a program says of itself is not believed."
MEMORY = "A trial that asks for too much dies at its own cap, and its neighbours go on."
HANGS = "A trial is dead at its limit, whatever its tree does."
LOCKS = "Stale locks of a killed git are removed, and a person's own are left alone."
CHAIN = "A line torn by a crash costs a resumed study nothing."
YOURS = "Your branch, index and files stay as they were."
CLEAN = "Nothing is left running, reserved or temporary."

_HONEST = 5
_OVERRUN_S = 8.0
_OLD_S = 600.0
_HONEST_LOSS = 1.0  # a linear model on these images is far above


def play(folder: Path, ends_by: float) -> Iterator[Finding]:
    with playground(folder, ends_by) as ground:
        before = ground.fingerprint()
        script = folder / "script.jsonl"
        write_script(script, honest=_HONEST)
        options = ("--workers", "2", "--proposer", f"scripted:{script}", "--no-early-stop")
        ground.up(*options)
        kills = _Kills(ground)
        worker, agent = kills.worker()
        supervised = kills.supervisor()
        trained = kills.training()
        zygote = kills.zygote()
        claimed = kills.orchestrator()
        locks = _leave_litter(ground)
        ground.up("--resume", *options)
        code = ground.finish()
        study = ground.study()
        yield Finding(WORKER, _replaced(study, worker, agent), f"{agent} was killed in {_told(study, worker)}")
        yield Finding(
            SUPERVISOR, _complete(study, supervised), f"its supervisor was killed: {_told(study, supervised)}"
        )
        yield Finding(TRAINING, _reason(study, trained) is FailReason.CRASHED, _told(study, trained))
        yield zygote
        yield _resumed(study, claimed, code)
        yield _endings(ground)
        yield from _bad_programs(study)
        yield locks.judged()
        report = verify(ground.layout.brain)
        yield Finding(CHAIN, report.ok and not report.torn_bytes, str(report).partition(": ")[2])
        yield _yours(before, ground.fingerprint())
        yield _clean(ground)


@dataclass(frozen=True)
class _Kills:
    """Each waits for its moment, kills, and says whom it met."""

    ground: Playground

    def worker(self) -> tuple[str, str]:
        trial = self._running()
        agent = trial.claim.agent_id
        for pid in self.ground.pids(f"--agent-id {agent}"):
            kill(pid)
        self.ground.until(lambda study: study.restarts.get(agent, 0) > 0, f"{agent} is replaced")
        return trial.trial_id, agent

    def supervisor(self) -> str:
        trial, pid = self._supervised()
        kill(pid)
        return self._ended(trial.trial_id)

    def training(self) -> str:
        """The process below the supervisor while it trains; not one of a later phase."""
        while True:
            trial, pid = self._supervised()
            folder = self.ground.layout.trial(trial.claim.study_id, trial.trial_id)
            try:
                phases = psutil.Process(pid).children()
            except psutil.Error:
                continue
            if phases and folder.heartbeat.exists() and not folder.log("stage").exists():
                kill(phases[-1].pid)
                return self._ended(trial.trial_id)

    def zygote(self) -> Finding:
        """The trial that was claimed last before the kill is not the last one to end."""
        pids = self.ground.pids("zygote_server")
        for pid in pids:
            kill(pid)
        ended = len(self.ground.study().finished_trials())
        study = self.ground.until(lambda study: len(study.finished_trials()) > ended + 1, "trials end without it")
        ends = f"{len(study.finished_trials()) - ended} trials ended after its death"
        return Finding(ZYGOTE, bool(pids), ends if pids else "there was none to kill")

    def orchestrator(self) -> set[str]:
        """With two trials under way. The workers notice and leave; the trials they had go on."""
        study = self.ground.until(lambda study: len(study.open_trials()) == 2, "two trials run")
        run = self.ground.runs[-1]
        run.kill()
        run.wait()
        deadline = time.monotonic() + 20
        while self.ground.pids("-m workers") and time.monotonic() < deadline:
            time.sleep(0.1)
        return set(study.trials)

    def _ended(self, trial_id: str) -> str:
        self.ground.until(lambda study: study.trials[trial_id].finished is not None, f"{trial_id} ends")
        return trial_id

    def _running(self) -> Trial:
        """A trial that runs and is none of the bad ones, whose endings are looked at for themselves."""
        study = self.ground.until(lambda study: _good_and_running(study) != [], "a trial runs")
        return _good_and_running(study)[0]

    def _supervised(self) -> tuple[Trial, int]:
        deadline = min(time.monotonic() + 60, self.ground.ends_by)
        while time.monotonic() < deadline:
            trial = self._running()
            path = self.ground.layout.trial(trial.claim.study_id, trial.trial_id).supervisor
            try:
                return trial, int(json.loads(path.read_text())["pid"])
            except (OSError, ValueError, KeyError):
                time.sleep(0.02)
        raise Fault("no running trial had a supervisor")


def _good_and_running(study: StudyState) -> list[Trial]:
    return [
        trial
        for trial in study.trials.values()
        if trial.state is TrialState.RUNNING and trial.claim.description not in HOSTILE
    ]


@dataclass(frozen=True)
class _Locks:
    ours: Path
    theirs: Path

    def judged(self) -> Finding:
        gone, kept = not self.ours.exists(), self.theirs.exists()
        self.theirs.unlink(missing_ok=True)
        seen = f"ours {'was removed' if gone else 'is still there'}, .git/index.lock {'stayed' if kept else 'is gone'}"
        return Finding(LOCKS, gone and kept, seen)


def _leave_litter(ground: Playground) -> _Locks:
    """What a machine that went down may leave: a torn line, a lock of git below our refs, and one of the person's."""
    with ground.layout.brain.open("ab") as brain:
        brain.write(b'{"v":1,"seq":9999,"id":"torn')
    git = ground.root / ".git"
    locks = _Locks(git / "refs" / "swarm" / "drill" / "t9999.lock", git / "index.lock")
    locks.ours.parent.mkdir(parents=True, exist_ok=True)
    long_ago = time.time() - _OLD_S
    for lock in (locks.ours, locks.theirs):
        lock.touch()
        os.utime(lock, (long_ago, long_ago))
    return locks


def _replaced(study: StudyState, trial_id: str, agent: str) -> bool:
    return study.restarts.get(agent, 0) == 1 and _complete(study, trial_id)


def _complete(study: StudyState, trial_id: str) -> bool:
    return study.trials[trial_id].state is TrialState.COMPLETE


def _reason(study: StudyState, trial_id: str) -> FailReason | None:
    return study.trials[trial_id].reason


def _told(study: StudyState, trial_id: str) -> str:
    trial = study.trials[trial_id]
    return f"{trial_id}, {trial.state}{f', {trial.reason}' if trial.reason else ''}"


def _resumed(study: StudyState, before: set[str], code: int) -> Finding:
    after = [trial for name, trial in study.trials.items() if name not in before]
    agents = {trial.claim.agent_id for trial in after}
    pairs = len(list(overlapping_pairs(after)))
    seen = f"{len(after)} trials by {len(agents)} workers after it, {pairs} pairs at once, exit code {code}"
    return Finding(RESUME, code == 0 and len(agents) == 2 and pairs > 0, seen)


def _endings(ground: Playground) -> Finding:
    kinds: dict[str, Counter[str]] = {"proposal_claimed": Counter(), "trial_finished": Counter()}
    for line in ground.layout.brain.read_text(errors="replace").splitlines():
        try:
            record = json.loads(line)
            kinds[record["kind"]][record["trial_id"]] += 1
        except (ValueError, KeyError):
            continue
    claimed, ended = kinds["proposal_claimed"], kinds["trial_finished"]
    ok = claimed == ended and set(ended.values()) == {1}
    return Finding(ENDINGS, ok, f"{claimed.total()} claims, {ended.total()} endings of {len(ended)} trials")


def _bad_programs(study: StudyState) -> Iterator[Finding]:
    by_name = {trial.claim.description: trial for trial in study.trials.values()}
    liar, hoarder, hanger = (by_name.get(name) for name in (LIAR, HOARDER, HANGER))
    yield _lies(liar)
    neighbours = [trial for trial in study.trials.values() if trial.claim.description not in HOSTILE]
    yield _memory(hoarder, [trial for trial in neighbours if trial.reason is FailReason.OUT_OF_MEMORY])
    yield _hangs(hanger)


def _lies(liar: Trial | None) -> Finding:
    if liar is None or liar.finished is None:
        return Finding(LIES, False, "the lying program never ran")
    loss, flags = liar.finished.validation_loss, ", ".join(liar.finished.flags) or "no flags"
    ok = (liar.reason is not None) if loss is None else loss > _HONEST_LOSS
    return Finding(LIES, ok, f"it said 0.0001; its score is {loss}, {flags}")


def _memory(hoarder: Trial | None, harmed: list[Trial]) -> Finding:
    if hoarder is None or hoarder.finished is None:
        return Finding(MEMORY, False, "the program that takes too much never ran")
    capped = hoarder.finished.attempts > 1 or hoarder.reason in (FailReason.OUT_OF_MEMORY, FailReason.INFEASIBLE)
    how = f"{hoarder.finished.attempts} attempts, {hoarder.reason or 'complete with more of it'}"
    return Finding(MEMORY, capped and not harmed, f"{how}; {len(harmed)} neighbours ran out of memory")


def _hangs(hanger: Trial | None) -> Finding:
    if hanger is None or hanger.finished is None or hanger.finished.resources is None:
        return Finding(HANGS, False, "the program that never ends left no ending")
    took = hanger.finished.resources.wall_s or 0.0
    ok = hanger.reason is FailReason.TIMEOUT and took <= WALLTIME_LIMIT_S + _OVERRUN_S
    return Finding(HANGS, ok, f"{took:.1f} s with a limit of {WALLTIME_LIMIT_S:g} s, {hanger.reason}")


def _yours(before: dict[str, str], after: dict[str, str]) -> Finding:
    changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    return Finding(
        YOURS, not changed, f"changed: {', '.join(changed)}" if changed else f"{len(before)} things compared"
    )


def _clean(ground: Playground) -> Finding:
    left = [f"pid {process.pid}" for process in ground.processes()]
    left += [str(path.relative_to(ground.folder)) for path in ground.leases()]
    left += [path.name for path in ground.layout.runtime.glob("index-*")]
    left += [path.name for path in (ground.layout.runtime / "worktrees").glob("*")]
    return Finding(CLEAN, not left, f"left: {', '.join(left[:5])}" if left else "no process, reservation or worktree")


SCENE = Scene(
    "the night",
    (*(WORKER, SUPERVISOR, TRAINING, ZYGOTE, RESUME, ENDINGS, LIES, MEMORY, HANGS, LOCKS, CHAIN, YOURS, CLEAN),),
    play,
)
