"""Every error that the swarm raises on purpose.

    SwarmError                      exit code 1: the run failed, the message says what to do
    ├── UsageError                  exit code 2: a flag or argument is wrong
    ├── MissingExtra                an optional library is not installed
    ├── TargetError                 a target folder, its target.toml or its program is unusable
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
    ├── AdmissionError              no device memory can be reserved
    │   └── NeverFits               larger than the device, even alone
    ├── SandboxError                the requested isolation is not available on this machine
    └── TrialError                  a trial could not be set up (a failed set-up is not a failed trial)
        └── TrialLost               its supervisor died without leaving a result; it may be run again

A message names the value, the limit, the holder and the remedy. The command line prints it without a traceback.
"""


class SwarmError(Exception):
    """Root of the tree; `exit_code` is what the command line returns."""

    exit_code = 1


class UsageError(SwarmError):
    exit_code = 2


class MissingExtra(SwarmError):
    def __init__(self, extra: str, libraries: tuple[str, ...]) -> None:
        super().__init__(f"this needs {', '.join(libraries)}: pip install 'swarm-research[{extra}]'")


class TargetError(SwarmError):
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


class SandboxError(SwarmError):
    pass


class TrialError(SwarmError):
    pass


class TrialLost(TrialError):
    pass
