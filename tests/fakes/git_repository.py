"""A real repository in a temporary folder, made with the plain git of the machine."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

TRAIN = "".join(f"line {number}\n" for number in range(1, 21))

_ENVIRONMENT = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "user",
    "GIT_AUTHOR_EMAIL": "user@example.org",
    "GIT_COMMITTER_NAME": "user",
    "GIT_COMMITTER_EMAIL": "user@example.org",
}


@dataclass(frozen=True)
class GitRepository:
    root: Path

    def git(self, *args: str) -> str:
        environment = {**os.environ, **_ENVIRONMENT}
        done = subprocess.run(
            ["git", *args], cwd=self.root, env=environment, check=True, capture_output=True, text=True, timeout=30
        )
        return done.stdout.strip()

    def write(self, path: str, text: str) -> Path:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def commit(self, message: str = "change") -> str:
        self.git("add", "--all")
        self.git("commit", "-q", "--no-verify", "-m", message)
        return self.git("rev-parse", "HEAD")

    def fingerprint(self) -> tuple[object, ...]:
        """Everything of the user's that must not change: branches, HEAD, index, configuration, working tree."""
        files = {
            path.relative_to(self.root): (path.read_bytes(), path.stat().st_mtime_ns)
            for path in self.root.rglob("*")
            if path.is_file() and not {".git", ".swarm"} & set(path.relative_to(self.root).parts)
        }
        git_dir = self.root / ".git"
        return (
            self.git("for-each-ref", "refs/heads", "refs/tags"),
            (git_dir / "HEAD").read_bytes(),
            (git_dir / "index").read_bytes(),
            (git_dir / "config").read_bytes(),
            self.git("status", "--porcelain"),
            files,
        )


def make_repository(root: Path, *, commit: bool = True) -> GitRepository:
    root.mkdir(parents=True)
    repository = GitRepository(root)
    repository.git("init", "-q", "-b", "main")
    if commit:
        repository.write("README.md", "read me\n")
        repository.write("models/toy/train.py", TRAIN)
        repository.write("models/toy/target.toml", "name = 'toy'\n")
        repository.write("models/other/train.py", "other\n")
        repository.commit("start")
    return repository
