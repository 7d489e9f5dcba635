"""What `swarm share` does."""

import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from swarm.cli.read import find_study, open_brain
from swarm.errors import UsageError
from swarm.orchestrator.data import data_sha256
from swarm.orchestrator.settings_file import load_settings
from swarm.repo import Repo
from swarm.repo.programs import Programs
from swarm.sharing.finding import Finding, Replication, identity
from swarm.sharing.publishing import ARM, Author, finding_of, replications, trust, worth_telling
from swarm.sharing.receiving import Here, Refused, Taken, received
from swarm.sharing.remote import letters, post
from swarm.sharing.shelf import REMOTE, Shelf
from swarm.sharing.signing import accepted_signers, sign
from swarm.study.devices import device_class
from swarm.study.lineage import commit_of
from swarm.study.settings import Layout, RunSettings
from swarm.study.state import Program, StudyState
from swarm.verdict.standing import standing


def publish_study(
    address: str, trials: Sequence[str], swarm: str, key: Path, note: str, brain: Path | None, study_id: str | None
) -> None:
    """Raises UsageError, ShareError, RepoError and ValueError's message as UsageError."""
    if not REMOTE.fullmatch(swarm):
        given = f"is {swarm!r}" if swarm else "is missing"
        raise UsageError(f"--as {given}: say what others call this swarm, in small letters, digits and -")
    repo, study, settings = _here(brain, study_id)
    if study is None or settings is None:
        raise UsageError("there is no study of this clone to tell of")
    ran_on = device_class(study) or study.opened.device_name
    author = Author(swarm, time.time(), data_sha256(settings.data_dir), ran_on, note)
    programs, refs = Programs.opened(repo, study), repo.refs(study.study_id)

    def text(program: Program) -> str:
        commit = commit_of(study, program, refs)
        if commit is None:
            raise UsageError(f"{program.name} has no commit here")
        return programs.read(commit)

    told = [_program(study, name) for name in trials] if trials else worth_telling(study)
    try:
        bodies = [finding_of(study, program, text, author).model_dump_json().encode() for program in told]
    except ValueError as error:
        raise UsageError(f"that cannot be told: {error}") from None
    bodies += [one.model_dump_json().encode() for one in replications(study, author)]
    files = {}
    for body in bodies:
        files[f"{identity(body)}.json"] = body
        files[f"{identity(body)}.json.sig"] = sign(body, key)
    new = post(address, swarm, files) // 2 if files else 0
    print(
        f"{len(told)} findings and {len(bodies) - len(told)} replications of {study.study_id}: {new} new at {address}"
    )


def fetch_remote(remote: str, address: str, accept: Path | None, me: str | None, brain: Path | None) -> None:
    if not REMOTE.fullmatch(remote):
        raise UsageError(f"{remote!r} cannot be the name of a remote: small letters, digits and -")
    accepted = accept or accepted_signers()
    if not accepted.is_file():
        raise UsageError(f"{accepted} is missing: list there whose findings you accept, one NAME and SSH key a line")
    repo, study, settings = _here(brain, None)
    here = None
    if study is not None and settings is not None:
        here = Here(study.opened.target, study.opened.harness_sha256, data_sha256(settings.data_dir))
    shelf = Shelf.of(Layout(root=repo.root))
    new, refused = 0, Counter[str]()
    for answer in received(letters(address), accepted, here, me):
        match answer:
            case Taken(id=name, what=what):
                new += shelf.put(remote, name, what)
            case Refused(why=why):
                refused[why] += 1
    print(f"{new} new from {address}, as {ARM}{remote}; a study that starts now tries them on its own seeds")
    for why, count in refused.most_common():
        print(f"{count} without effect: {why}")


def print_shelf(brain: Path | None, study_id: str | None) -> None:
    repo, study, _ = _here(brain, study_id)
    shelf, console = Shelf.of(Layout(root=repo.root)), Console()
    drawn = Table("remote", "finding", "of", "its author says", "here", "elsewhere", box=None, pad_edge=False)
    for remote in shelf.remotes():
        items = list(shelf.read(remote))
        again = Counter(item.what.finding for item in items if isinstance(item.what, Replication))
        for item in items:
            if isinstance(item.what, Finding):
                measured = item.what.measured
                says = f"{measured.base_mean:.4f} to {measured.mean:.4f} {measured.metric}, {measured.runs} runs"
                here = _here_standing(study, f"{ARM}{remote}/{item.id}")
                drawn.add_row(remote, item.id[:12], item.what.swarm, says, here, f"{again[item.id]} tried")
        if study is not None:
            seen = trust(study, remote)
            console.print(f"{ARM}{remote}: {seen.confirmed} of {seen.tried} that were tried here hold", highlight=False)
    console.print(drawn)


def _here_standing(study: StudyState | None, proposer: str) -> str:
    for program in study.programs.values() if study is not None else ():
        if study is not None and program.first.claim.proposer == proposer:
            return f"{program.name} {standing(study, program)}"
    return "not tried"


def _program(study: StudyState, name: str) -> Program:
    if name not in study.trials:
        raise UsageError(f"there is no trial {name} in {study.study_id}")
    return study.program_of(name)


def _here(brain: Path | None, study_id: str | None) -> tuple[Repo, StudyState | None, RunSettings | None]:
    """The repository, and its study with its settings where it was run in this clone."""
    repo = Repo.open(brain.absolute().parent if brain is not None else Path.cwd())
    layout = Layout(root=repo.root)
    if not (brain or layout.brain).exists():
        return repo, None, None
    study = find_study(open_brain(brain), study_id)
    path = layout.settings(study.study_id)
    return repo, study, load_settings(path) if path.exists() else None
