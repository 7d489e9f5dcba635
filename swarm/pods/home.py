"""Bringing home: the records, trial commits and report of a study that runs or ran in a pod.

What comes from there is data, and it comes by names that are checked: records that can be read, of studies that began
in that pod; refs below refs/swarm/ of those studies; objects that git has checked. A pod can neither change what is
here nor add to another study. All of it may be done again, also after being killed in the middle.

The report is written here, from the records, and not fetched: a page from a rented machine is a program.
"""

import contextlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import ValidationError

from swarm.brain import Brain, MergeRefused, first_of, merge, verify
from swarm.errors import PodError
from swarm.pods.inside.push import BRANCHES
from swarm.pods.mirror import MAX_BYTES, copied, follow
from swarm.pods.order import STATE, PodPhase, PodReport
from swarm.pods.reach import Reach
from swarm.repo import Quarantine, Repo, trial_ref
from swarm.repo.programs import reader_of

LOCK_TIMEOUT_S = 60.0
MAX_STATE_BYTES = 1 << 16
_STUDIES = "studies.json"
BRAIN_NAME = "swarm_brain.jsonl"
_TRIAL = re.compile(r"t[0-9]{4,9}|base")
_OVER = (PodPhase.DONE, PodPhase.FAILED)


@dataclass(frozen=True)
class Brought:
    """What one collection brought: `records` and `refs` are new here. Up to `brain_bytes` of the pod's brain all is at
    home, with the commits that it names; `report`: the study is over, and its report is written."""

    records: int
    refs: int
    brain_bytes: int
    report: bool
    left_out: int = 0  # records of other studies, and lines that cannot be read
    refused: str = ""  # which records of its own studies contradict what is here


def bring_home(reach: Reach, repo: Repo, brain: Path, mirror: Path) -> Brought:
    """Once: new lines into `mirror`, a copy of the pod's brain; records into `brain`, commits into `repo`; and when the
    pod's study is over its report beside the mirror.

    Raises OutOfReach; PodError and RepoError for what is malformed, too large or contradicts what is here. What was
    brought before stays.
    """
    with _alone(mirror):
        over = _is_over(reach.read(STATE, 0, MAX_STATE_BYTES))
        brain_bytes = follow(reach, mirror)
        return _taken(reach.git(), repo, brain, mirror, brain_bytes=brain_bytes, over=over)


@contextlib.contextmanager
def _alone(mirror: Path) -> Iterator[None]:
    mirror.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(mirror.with_name(f"{mirror.name}.lock"), timeout=LOCK_TIMEOUT_S, fallback_to_soft=False):
            yield
    except Timeout as error:
        raise PodError(f"another process brings home into {mirror.parent}; it holds {mirror.name}.lock") from error


def bring_home_from(url: str, pod_name: str, repo: Repo, brain: Path, mirror: Path) -> Brought:
    """The same from a git remote to which the pod pushes, with the person's own access to it."""
    quarantine, branch = Quarantine(mirror.parent / "refs.git", repo), f"{BRANCHES}{pod_name}"
    passed = {name: os.environ[name] for name in ("HOME", "SSH_AUTH_SOCK") if name in os.environ}
    with _alone(mirror):
        commit = quarantine.fetch(url, passed, branch).get(branch, "")
        brain_bytes = copied(quarantine.read(commit, BRAIN_NAME, MAX_BYTES) or b"", mirror)
        over = _is_over(quarantine.read(commit, STATE, MAX_STATE_BYTES) or b"")
        return _taken((url, passed), repo, brain, mirror, brain_bytes=brain_bytes, over=over)


def _taken(
    git: tuple[str, dict[str, str]], repo: Repo, brain: Path, mirror: Path, *, brain_bytes: int, over: bool
) -> Brought:
    home = Brain(brain)
    own = _own_studies(mirror, home)
    if not own:
        return Brought(0, 0, brain_bytes, report=over)
    quarantine = Quarantine(mirror.parent / "refs.git", repo)
    refs = quarantine.take(_wanted_refs(quarantine.fetch(*git), own))
    try:
        merged = merge(home, mirror, wanted=lambda record: record.study_id in own, apart=True)
    except MergeRefused as refused:
        raise PodError(f"{refused} The pod's copy is {mirror}.") from refused
    report = over and _report(home, own, repo, mirror.parent)
    others = merged.unwanted + merged.unreadable
    return Brought(merged.added, refs, brain_bytes, report, others, _refusal(merged.refused, mirror))


def _refusal(refused: Sequence[str], mirror: Path) -> str:
    if not refused:
        return ""
    many = len(refused) != 1
    what = f"{len(refused)} records of the pod contradict" if many else "1 record of the pod contradicts"
    return (
        f"{what} what is here and {'were' if many else 'was'} left out: {first_of(refused)}. The pod's copy: {mirror}"
    )


def _is_over(state: bytes) -> bool:
    try:
        return PodReport.model_validate_json(state).phase in _OVER
    except ValidationError:
        return False


def _own_studies(mirror: Path, home: Brain) -> frozenset[str]:
    """Those that began in the pod: in its brain, and not in ours when they were first seen. Written down before
    anything of them is taken, so that they are known as the pod's ever after."""
    known = own_studies(mirror)
    here, there = home.snapshot().studies, Brain(mirror).snapshot().studies if mirror.exists() else {}
    own = known | {study for study in there if study not in here}
    if own != known:
        draft = mirror.with_name("studies.new")
        draft.write_text(json.dumps(sorted(own)), encoding="utf-8")
        draft.replace(mirror.with_name(_STUDIES))
    return own


def own_studies(mirror: Path) -> frozenset[str]:
    """The names of the studies that are known to have begun in the pod."""
    try:
        return frozenset(map(str, json.loads(mirror.with_name(_STUDIES).read_text(encoding="utf-8"))))
    except (FileNotFoundError, ValueError, TypeError):
        return frozenset()


def _wanted_refs(found: Mapping[str, str], own: frozenset[str]) -> dict[str, str]:
    """Trial commits of the pod's own studies, by their full names."""
    wanted = {}
    for name, commit in found.items():
        study, _, trial = name.rpartition("/")
        if study in own and _TRIAL.fullmatch(trial):
            wanted[trial_ref(study, trial)] = commit
    return wanted


def _report(home: Brain, own: frozenset[str], repo: Repo, folder: Path) -> bool:
    """Of the pod's last study; True when it lies there."""
    from swarm.report.evidence import gather
    from swarm.report.render import report_html, report_markdown

    studies = [study for name, study in home.snapshot().studies.items() if name in own]
    if not studies:
        return False
    study = studies[-1]
    text_of, where = reader_of(repo, study)
    evidence = gather(study, text_of, path=where, chain=verify(home.path))
    for name, write in (("report.html", report_html), ("report.md", report_markdown)):
        draft = folder / f"{name}.new"
        draft.write_text(write(study, evidence), encoding="utf-8")
        draft.replace(folder / name)
    return True
