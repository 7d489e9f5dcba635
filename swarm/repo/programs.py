"""The programs of one study in git: read out of a commit as one text, written as a commit of the files it holds."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath

from swarm.errors import RepoError
from swarm.program import several
from swarm.program.globs import is_single, may_change
from swarm.records import TargetTerms
from swarm.repo.repository import Repo
from swarm.repo.trees import read_texts
from swarm.study.lineage import commit_of
from swarm.study.settings import RunSettings
from swarm.study.state import Program, StudyState


@dataclass(frozen=True)
class Programs:
    """`folder` is the target's, relative to the repository. `editable`: the one file of a target that has one."""

    repo: Repo
    folder: str
    editable: str
    terms: TargetTerms

    @classmethod
    def of(cls, repo: Repo, settings: RunSettings) -> "Programs":
        return cls(repo, settings.target_folder, settings.editable, settings.terms)

    @classmethod
    def opened(cls, repo: Repo, study: StudyState) -> "Programs":
        """As the study's first record has them."""
        opened = study.opened
        return cls(repo, opened.target_folder, opened.editable, opened.terms)

    @property
    def is_single(self) -> bool:
        """One Python file, which is its own text."""
        return is_single(self.terms)

    @property
    def where(self) -> str:
        """The one file, or the folder of several, relative to the repository."""
        return self.path(self.editable) if self.is_single else self.folder

    def path(self, file: str) -> str:
        """Of a file of the target's folder, relative to the repository."""
        return str(PurePosixPath(self.folder) / file)

    def read(self, commit: str) -> str:
        """The program in a commit. Raises RepoError."""
        if self.is_single:
            return self.repo.read(commit, self.path(self.editable))
        return several.joined(self.files(commit))

    def files(self, commit: str) -> dict[str, str]:
        """Its files, by their paths in the target's folder."""
        if self.is_single:
            return {self.editable: self.read(commit)}
        return read_texts(self.repo.git, commit, self.folder, lambda path: may_change(path, self.terms))

    def paths(self, program: str) -> dict[str, str]:
        """Its texts by their paths in the repository."""
        return {self.path(file): text for file, text in several.files_of(program, self.editable).items()}

    def commit(self, parent: str, program: str, message: str, ref: str) -> str:
        """The program as a change of the commit `parent`: files that it no longer has are removed. Raises RepoError."""
        wanted: dict[str, str | None] = {**self.paths(program)}
        if not self.is_single:
            gone = (self.path(file) for file in self.files(parent))
            wanted = {**dict.fromkeys(gone), **wanted}
        return self.repo.commit_change(parent, wanted, message, ref)


def reader_of(repo: Repo, study: StudyState) -> tuple[Callable[[Program], str], str]:
    """Gives the text of a program of the study out of this repository, and where it lies in it. The reader raises
    RepoError for one that was never committed or is not here."""
    programs, refs = Programs.opened(repo, study), repo.refs(study.study_id)

    def text_of(program: Program) -> str:
        commit = commit_of(study, program, refs)
        if commit is None:
            raise RepoError(f"{program.name} was claimed and never committed, so there is no program of it")
        return programs.read(commit)

    return text_of, programs.where
