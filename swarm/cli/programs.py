"""The commands that read a program's text: show and diff; and adopt, which writes it onto a branch."""

import contextlib
import sys
from pathlib import Path

from swarm.cli.read import find_study, find_trial, open_brain, root_of
from swarm.errors import SwarmError
from swarm.records import block
from swarm.repo import Repo, bundle_beside, has_commit, take_bundle, versions
from swarm.repo.programs import Programs
from swarm.study.lineage import commit_of, diff, parent_of
from swarm.study.state import Program, StudyState, Trial
from swarm.verdict.standing import not_to_build_on


class Sources:
    """The texts of one study's programs, out of git; in a clone out of the bundle beside the brain, taken when it is
    needed."""

    def __init__(self, repo: Repo, study: StudyState, brain: Path) -> None:
        self.repo = repo
        self.programs = Programs.opened(repo, study)
        self._study = study
        self._bundle = bundle_beside(brain)

    def text(self, program: Program) -> str:
        """Raises SwarmError when the program was never committed or lies in another repository."""
        return self.programs.read(self._commit(program))

    def texts(self) -> dict[str, str]:
        """Of all programs, by name, as far as they are here."""
        refs, programs = self.repo.refs(self._study.study_id), self._study.programs.values()
        commits = {one.name: commit for one in programs if (commit := commit_of(self._study, one, refs)) is not None}
        with contextlib.suppress(SwarmError):
            self._need(self._study.opened.base_commit, "the study's first program")
        if self.programs.is_single:
            found = versions(self.repo, commits.values(), self.programs.where)
        else:
            found = {commit: self.programs.read(commit) for commit in commits.values() if has_commit(self.repo, commit)}
        return {name: found[commit] for name, commit in commits.items() if commit in found}

    def original(self) -> str:
        """The file as it was committed when the study began, before the constants of the device's profile."""
        self._need(self._study.opened.base_commit, "the study's first program")
        return self.programs.read(f"{self._study.opened.base_commit}^")

    def _commit(self, program: Program) -> str:
        commit = commit_of(self._study, program, self.repo.refs(self._study.study_id))
        if commit is None:
            raise SwarmError(f"{program.name} was claimed and never committed, so there is no program of it")
        self._need(commit, program.name)
        return commit

    def _need(self, commit: str, what: str) -> None:
        study_id = self._study.study_id
        if has_commit(self.repo, commit):
            return
        if self._bundle.is_file():
            new = take_bundle(self.repo, self._bundle, study_id)
            print(f"swarm: took {new} programs of {study_id} out of {self._bundle.name}", file=sys.stderr)
        if not has_commit(self.repo, commit):
            raise SwarmError(
                f"{what} ({commit[:12]}) is not in {self.repo.root}: {study_id} ran in another repository. There, "
                f"`swarm brain bundle` writes its programs into {self._bundle.name}; put that beside the brain."
            )


def show_program(brain: Path | None, study_id: str | None, name: str) -> None:
    _, program, sources = _found(brain, study_id, name)
    _write(sources.text(program))


def print_diff(brain: Path | None, study_id: str | None, name: str, *, against_base: bool) -> None:
    study, program, sources = _found(brain, study_id, name)
    before = (study.baseline if against_base else parent_of(study, program)) or program
    _write(diff(sources.text(before), sources.text(program), sources.programs.where))


def adopt_trial(brain: Path | None, study_id: str | None, name: str, branch: str | None) -> None:
    from swarm.program.profile import without_profile

    study, program, sources = _found(brain, study_id, name)
    trial = find_trial(study, name)
    chosen = branch or f"adopted/{study.study_id}/{trial.trial_id}"  # swarm/... would be read as the ref of the trial
    original = sources.original()
    programs = sources.programs
    base = programs.read(study.opened.base_commit)
    text, resized = without_profile(original, base, sources.text(program))
    before, after = programs.paths(original), programs.paths(text)
    commit = sources.repo.adopt(before, after, branch=chosen, message=_message(study, trial))
    if (warning := not_to_build_on(study, program)) is not None:
        print(f"swarm: {warning}", file=sys.stderr)
    for constant, (old, new) in resized.items():
        where = "in the trial, found beside this device's profile"
        print(f"swarm: {constant} is {new} {where}; your file had {old}: check which you want", file=sys.stderr)
    what = "the same program as yours" if text == original else f"the change of {program.name}"
    print(f"Wrote {what} ({commit[:12]}) onto the new branch {chosen}. Review it with: git diff HEAD...{chosen}")


def _found(brain: Path | None, study_id: str | None, name: str) -> tuple[StudyState, Program, Sources]:
    opened = open_brain(brain)
    study = find_study(opened, study_id)
    program = study.program_of(find_trial(study, name).trial_id)
    return study, program, Sources(Repo.open(root_of(brain)), study, opened.path)


def _message(study: StudyState, trial: Trial) -> str:
    objective = study.objective
    result = f", {objective.name} {objective.text(trial.cost)}" if trial.cost is not None else ""
    return f"{trial.claim.description}\n\nTrial {trial.trial_id} of study {study.study_id}{result}."


def _write(text: str) -> None:
    sys.stdout.write(block(text) if sys.stdout.isatty() else text)
