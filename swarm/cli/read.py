"""The commands that read: status, log, report, memory, verify."""

import json
import sys
from pathlib import Path

from rich.console import Console

from swarm.brain import Brain, verify
from swarm.cli.render import headline, ranking_lines
from swarm.clock import SystemClock
from swarm.errors import RepoError, SwarmError, UsageError
from swarm.orchestrator.control import orchestrator_runs
from swarm.repo import Repo
from swarm.report.summary import summarize
from swarm.study.naming import study_named
from swarm.study.settings import Layout
from swarm.study.state import StudyState, Trial
from swarm.watch.terminal import picture
from swarm.watch.watching import one_look


def open_brain(given: Path | None) -> Brain:
    """The brain that was named, the repository's, or the one in this folder. SwarmError when there is none.

    While a study runs here, its second copy is used too: what is appended goes where the study looks.
    """
    try:
        repo = Repo.open(Path.cwd())
    except RepoError:
        repo = None
    path = (given or Layout(root=repo.root if repo is not None else Path.cwd()).brain).absolute()
    runs = repo is not None and orchestrator_runs(Layout(root=repo.root))
    kept = repo.kept_brain(path) if repo is not None and runs else None
    if not path.exists() and (kept is None or not kept.exists()):
        raise SwarmError(f"there is no brain at {path}; `swarm up` makes one, --brain names another")
    return Brain(path, clock=SystemClock(), kept=kept)


def find_study(brain: Brain, study_id: str | None) -> StudyState:
    """The study with this id or an unambiguous beginning of it; the latest when None, and then it is said on stderr
    when a newer one is passed over because it has no trial."""
    state = brain.snapshot()
    study, newest = study_named(state, study_id, brain.path, len(brain.skipped)), state.newest
    if study_id is None and newest is not None and newest is not study:
        text = f"this is {study.study_id}; {newest.study_id} is newer and has no trial: --study names it"
        print(f"swarm: {text}", file=sys.stderr)
    return study


def find_trial(study: StudyState, name: str) -> Trial:
    """By id (t0007) or number (7)."""
    trial_id = f"t{int(name):04d}" if name.isdigit() else name
    trial = study.trials.get(trial_id)
    if trial is None:
        raise UsageError(f"there is no trial {name!r} in {study.study_id}; it has {len(study.trials)}, from t0001 on")
    return trial


def root_of(brain: Path | None) -> Path:
    """The repository of a study: the one around its brain, or around this folder."""
    return Repo.open(brain.absolute().parent if brain is not None else Path.cwd()).root


def print_status(brain: Path | None, study_id: str | None, *, as_json: bool) -> None:
    study = find_study(open_brain(brain), study_id)
    summary = summarize(study)
    if as_json:
        print(summary.model_dump_json())
        return
    console = Console()
    if console.is_terminal:
        seen = one_look(open_brain(brain), study.study_id)
        console.print(picture(seen, console.width))
        return
    print(headline(summary).plain)
    for line in ranking_lines(summary):
        print(line)


def print_memory(brain: Path | None, study_id: str | None, *, as_json: bool) -> None:
    from swarm.report.memory import memory_rows, memory_table

    study = find_study(open_brain(brain), study_id)
    rows = memory_rows(study)
    print(json.dumps([row.model_dump(mode="json") for row in rows]) if as_json else memory_table(rows, study.objective))


def print_verify(brain: Path | None, *, as_json: bool) -> int:
    report = verify(open_brain(brain).path)
    if as_json:
        first = report.first_bad
        facts = {"ok": report.ok, "lines": report.lines, "kinds": report.kinds, "torn_bytes": report.torn_bytes}
        bad = {"line": first.line, "reason": first.reason} if first is not None else None
        print(json.dumps({"schema_version": 1, **facts, "first_bad": bad}))
    else:
        print(report)
    return 0 if report.ok else 1
