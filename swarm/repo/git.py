"""One call of the git binary, in an environment of our own and under a deadline."""

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from swarm.errors import GitTimeout, GitTooOld, RepoError

TIMEOUT_S = 30.0
OLDEST_GIT = (2, 20)

_NOBODY = "swarm"
_MAIL = "swarm@localhost"

# Given on the command line, these outrank the repository's own configuration.
_FLAGS = (
    *("--no-pager", "--literal-pathspecs"),
    *("-c", "gc.auto=0"),
    *("-c", "maintenance.auto=false"),
    *("-c", "core.fsmonitor=false"),
    *("-c", "core.hooksPath=/dev/null"),
    *("-c", "core.splitIndex=false"),
    *("-c", "core.quotePath=false"),
    *("-c", "commit.gpgsign=false"),
    *("-c", "i18n.commitEncoding=UTF-8"),
)


class GitFailed(RepoError):
    """Git ended with an exit code other than 0."""

    def __init__(self, message: str, *, code: int, stdout: bytes) -> None:
        super().__init__(message)
        self.code = code
        self.stdout = stdout


@dataclass(frozen=True, slots=True)
class Git:
    """Runs git in `folder`. `flags` go before the subcommand; nothing of a call reaches a shell. With `file_limit_mib`
    the kernel lets no file that git writes grow beyond that, for what comes from a machine that is not trusted."""

    folder: Path
    flags: tuple[str, ...] = ()
    timeout_s: float = TIMEOUT_S
    file_limit_mib: int | None = None

    def __call__(self, *args: str, stdin: bytes | None = None, env: Mapping[str, str] | None = None) -> bytes:
        """Standard output. Raises GitFailed on an exit code other than 0 and GitTimeout past the deadline."""
        command = [*self._limits(), git_binary(), *_FLAGS, *self.flags, "-C", str(self.folder), *args]
        shown = f"git {shlex.join(args)} in {self.folder}"
        code, stdout, stderr = _run(command, stdin, {**_environment(), **(env or {})}, self.timeout_s, shown)
        if code != 0:
            said = stderr.decode(errors="replace").strip() or "no message"
            raise GitFailed(f"{shown} failed with exit code {code}: {said}", code=code, stdout=stdout)
        return stdout

    def _limits(self) -> list[str]:
        if self.file_limit_mib is None:
            return []
        blocks = str(self.file_limit_mib * 2048)  # of 512 bytes
        return ["sh", "-c", 'ulimit -f "$1" && shift && exec "$@"', "sh", blocks]

    def line(self, *args: str, stdin: bytes | None = None, env: Mapping[str, str] | None = None) -> str:
        """Standard output without its line end."""
        return os.fsdecode(self(*args, stdin=stdin, env=env).removesuffix(b"\n"))

    def fields(self, *args: str, env: Mapping[str, str] | None = None) -> list[str]:
        """Standard output of a command with -z."""
        return [os.fsdecode(part) for part in self(*args, env=env).split(b"\0") if part]


def git_binary() -> str:
    path = shutil.which("git")
    if path is None:
        raise RepoError(f"git is not on the PATH: install git {_dotted(OLDEST_GIT)} or newer")
    return path


def check_version(git: Git) -> None:
    """Raises GitTooOld below 2.20."""
    said = git.line("version")
    found = re.search(r"(\d+)\.(\d+)", said)
    if found is None or (int(found[1]), int(found[2])) < OLDEST_GIT:
        raise GitTooOld(f"{said!r} ({git_binary()}) is too old: install git {_dotted(OLDEST_GIT)} or newer")


def trusted_by_user(folder: Path) -> bool:
    """Would the user's own git, with their own configuration, work in a folder that somebody else owns?

    Only `rev-parse` is asked, which runs nothing that a repository can configure.
    """
    command = [git_binary(), "-C", str(folder), "rev-parse", "--git-dir"]
    own = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    return _run(command, None, own, TIMEOUT_S, f"git rev-parse in {folder}")[0] == 0


def _environment() -> dict[str, str]:
    """Built from nothing: an inherited GIT_DIR or GIT_CONFIG_PARAMETERS would send us to another repository."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": os.devnull,  # git before 2.32 does not know GIT_CONFIG_GLOBAL
        "XDG_CONFIG_HOME": os.devnull,
        "LC_ALL": "C",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "true",
        "GIT_EDITOR": "true",
        "GIT_PAGER": "cat",
        "GIT_AUTHOR_NAME": _NOBODY,
        "GIT_AUTHOR_EMAIL": _MAIL,
        "GIT_COMMITTER_NAME": _NOBODY,
        "GIT_COMMITTER_EMAIL": _MAIL,
    }


def _run(
    command: list[str], stdin: bytes | None, env: dict[str, str], timeout_s: float, shown: str
) -> tuple[int, bytes, bytes]:
    """Exit code, stdout, stderr. In a session of its own, so that the deadline ends git and whatever git started."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=env,
        start_new_session=True,
    )
    try:
        stdout, stderr = process.communicate(stdin, timeout=timeout_s)
    except subprocess.TimeoutExpired as error:
        raise GitTimeout(
            f"{shown} did not end within {timeout_s:g} s and was killed. Check that the file system answers and that "
            f"{command[0]} is a working git."
        ) from error
    finally:
        if process.returncode is None:
            _kill_group(process)
    return process.returncode, stdout, stderr


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    # No further read: a process that left the group may hold the pipe open for ever.
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()


def _dotted(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))
