"""Every error that the swarm raises on purpose.

    SwarmError                      exit code 1: the run failed, the message says what to do
    ├── UsageError                  exit code 2: a flag or argument is wrong
    ├── MissingExtra                an optional library is not installed
    ├── OutdatedExtra               it is, and is too old
    ├── TargetError                 a target folder, its target.toml or its program is unusable
    ├── Unwritable                  a record that no reader could read back; the brain itself is well
    ├── BrainError                  the blackboard file
    │   ├── BrainNotOurs            the file holds something else
    │   ├── BrainReplaced           it was deleted or exchanged while in use
    │   ├── DiskFull                an append was rolled back; nothing half-written is left
    │   └── StaleSnapshot           a claim was made on a brain that has moved on
    ├── RepoError                   git said no
    │   ├── NotARepository
    │   ├── GitTooOld
    │   ├── GitTimeout
    │   ├── DirtyTarget             the target folder has uncommitted changes
    │   └── MergeConflict           two edits of one file do not combine
    ├── AdmissionError              no device memory can be reserved; Unusable: a card that is there does not work
    │   ├── NeverFits               larger than the device, even alone
    │   └── NoCardLeft              exit code 2: every card of the study is lost, and no restart brings one back
    ├── NodeError                   a node or the exchange that it asks does not answer, or does not fit
    ├── ShareError                  a remote with findings cannot be read or written, or a signature cannot be made
    ├── PodError                    a rented machine or its provider; the kinds are in swarm/pods/provider.py
    ├── SandboxError                the requested isolation is not available on this machine
    └── TrialError                  a trial could not be set up (a failed set-up is not a failed trial)
        └── TrialLost               its supervisor died without leaving a result; it may be run again

A message names the value, the limit, the holder and the remedy. The command line prints it without a traceback.

What anything else raises is stopped at a border: `contained` makes a value of it, and the side that called goes on.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

MAX_ERROR_TEXT = 600  # characters of what an error says of itself

_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class Escaped:
    """What a call at a border raised in place of an answer."""

    error: BaseException

    @property
    def text(self) -> str:
        """Its class and what it says, in one line."""
        try:
            said = " ".join(str(self.error).split())
        except Exception as broken:  # noqa: BLE001 - a foreign class may fail at this too
            said = f"it cannot say what is wrong: {type(broken).__name__}"
        name = type(self.error).__name__
        return f"{name}: {said[:MAX_ERROR_TEXT]}" if said else name


def contained(call: Callable[[], _Answer], passing: tuple[type[BaseException], ...] = ()) -> _Answer | Escaped:
    """The answer of `call`, or what escaped from it: of any class, also a SystemExit or a lack of memory.

    Classes in `passing` are raised: they mean something to the caller. So is KeyboardInterrupt, which is a person's.
    """
    try:
        return call()
    except BaseException as error:
        if isinstance(error, (KeyboardInterrupt, *passing)):
            raise
        return Escaped(error)


class SwarmError(Exception):
    """Root of the tree; `exit_code` is what the command line returns."""

    exit_code = 1


class UsageError(SwarmError):
    exit_code = 2


class MissingExtra(SwarmError):
    def __init__(self, extra: str, libraries: tuple[str, ...]) -> None:
        super().__init__(f"this needs {', '.join(libraries)}: pip install 'swarm-research[{extra}]'")


class OutdatedExtra(SwarmError):
    def __init__(self, extra: str, libraries: tuple[str, ...]) -> None:
        super().__init__(f"this needs {'; '.join(libraries)}: pip install --upgrade 'swarm-research[{extra}]'")


class TargetError(SwarmError):
    pass


class UnknownTarget(TargetError):
    exit_code = 2


class Unwritable(SwarmError):
    pass


class BrainError(SwarmError):
    pass


class BrainNotOurs(BrainError):
    pass


class BrainReplaced(BrainError):
    pass


class DiskFull(BrainError):
    pass


class StaleSnapshot(BrainError):
    pass


class RepoError(SwarmError):
    pass


class NotARepository(RepoError):
    pass


class GitTooOld(RepoError):
    pass


class GitTimeout(RepoError):
    pass


class DirtyTarget(RepoError):
    pass


class MergeConflict(RepoError):
    pass


class AdmissionError(SwarmError):
    pass


class NeverFits(AdmissionError):
    pass


class NoCardLeft(AdmissionError):
    exit_code = 2


class NodeError(SwarmError):
    pass


class ShareError(SwarmError):
    pass


class PodError(SwarmError):
    pass


class SandboxError(SwarmError):
    pass


class TrialError(SwarmError):
    pass


class TrialLost(TrialError):
    pass
