"""The words of the contract between the control plane and the harness: phases, exit codes, variables, hashes."""

import hashlib
import os
import re
import stat
from collections.abc import Iterator
from contextlib import suppress
from enum import IntEnum, StrEnum
from pathlib import Path


class Phase(StrEnum):
    """The processes of a trial, in their order; a probe is a short training before the first trial of a program."""

    PROBE = "probe"  # sandboxed: three steps and an evaluation batch
    TRAIN = "train"  # sandboxed: sees the labelled train split and leaves weights
    STAGE = "stage"  # trusted: lays out the unlabelled evaluation images in a secret order
    PREDICT = "predict"  # sandboxed: rebuilds the model and leaves logits
    REPEAT = "repeat"  # the same once more for a tenth of the images, in other company
    SCORE = "score"  # trusted: holds the labels
    MAKE = "make"  # trusted, of a target that is run in rounds: makes the inputs of each, and what it expects
    RUN = "run"  # sandboxed, of a target that is not sealed: its own command
    GRADE = "grade"  # trusted, once the command is dead: makes or reads the number

    @property
    def module(self) -> str:
        """What `python -m` runs."""
        room = "grading" if self in GRADED_PHASES else "harness"
        return f"swarm.{room}.{self}_phase"


TRIAL_PHASES = (Phase.TRAIN, Phase.STAGE, Phase.PREDICT, Phase.REPEAT, Phase.SCORE)
GRADED_PHASES = (Phase.MAKE, Phase.RUN, Phase.GRADE)


class ExitCode(IntEnum):
    """How a phase says why it ended without a result. A candidate can choose its own: the code is a hint, not proof."""

    OK = 0
    CRASHED = 1
    DIVERGED = 10
    OUT_OF_MEMORY = 11
    CONTRACT_BROKEN = 12
    INVALID_OUTPUT = 13
    DATA_MISSING = 14
    SETUP_FAILED = 15  # limits or sandbox could not be applied: a failed set-up, not a failed trial


CONFIG_VARIABLE = "SWARM_TRIAL"  # path of the trial's harness.json
FOLDER_VARIABLE = "SWARM_TRIAL_DIR"  # the trial's folder, in every process of it: how what is left over is found
PHASE_VARIABLE = "SWARM_PHASE"  # which of the trial's processes it is
CHANNEL_VARIABLE = "SWARM_CHANNEL"  # the descriptor on which a phase tells its supervisor that the candidate begins
CACHE_VARIABLE = "SWARM_CACHE"  # where prepared data lies; ~/.cache/swarm without it
DATA_VARIABLE = "SWARM_DATA"  # a CIFAR-100 archive to use instead of a download
TEXT_VARIABLE = "SWARM_TEXT"  # a text file, or a folder of them, for a target that trains a language model

BEGINS, NOTED = b"begins", b"noted"
PRELOAD = "swarm.harness.preload"  # the module that imports what the phases import

_SECRET = re.compile(r"(_|^)(KEY|TOKEN|SECRET|PASSWORD|CREDENTIALS?)(_|$)")


def is_secret(variable: str) -> bool:
    """Whether a variable of this name holds something that is written nowhere."""
    return _SECRET.search(variable) is not None


_CODE_SUFFIXES = (".py", ".pyc", ".so")
_MOST_FILES = 20_000


def candidate_begins(*, wait: bool = False) -> None:
    """Tells the supervisor that the candidate's code is next, and closes the line. Before it everything is ours.

    `wait`: until the supervisor has read what was used so far, so that nothing of what follows is taken for ours.
    """
    named = os.environ.pop(CHANNEL_VARIABLE, None)
    if named is not None:
        os.write(int(named), BEGINS)
        if wait:
            os.read(int(named), len(NOTED))
        os.close(int(named))


def code_root() -> Path:
    """What has to be on a phase's import path: the folder that holds the package `swarm`."""
    return Path(__file__).resolve().parents[2]


def harness_folders() -> tuple[Path, ...]:
    """The trusted code that runs in a trial's processes. A sandboxed phase may read it."""
    return tuple(code_root() / "swarm" / room for room in ("harness", "grading", "trial"))


def harness_sha256() -> str:
    """Hash over names and contents of the trusted code: two results compare only under equal hashes."""
    digest = hashlib.sha256()
    for folder in harness_folders():
        for path in sorted(folder.rglob("*.py")):
            digest.update(f"{folder.name}/{path.relative_to(folder).as_posix()}".encode() + b"\0")
            digest.update(path.read_bytes() + b"\0")
    return digest.hexdigest()


def program_sha256(folder: Path) -> str:
    """Hash over the code below a folder, names and contents: what Python could load from it.

    Taken when the program is laid out and again after training: what predicts must be what trained. A cached `.pyc`
    counts, since Python would prefer it to the source. Nothing but plain files is opened.
    """
    digest = hashlib.sha256()
    for path in sorted(path for path in _files(folder) if path.suffix in _CODE_SUFFIXES):
        digest.update(os.fsencode(path.relative_to(folder)) + b"\0")
        digest.update(_content_sha256(path))
    return digest.hexdigest()


def _files(folder: Path) -> Iterator[Path]:
    """All names below `folder` that are no folder, without recursion; at most _MOST_FILES, which no program has."""
    waiting, found = [str(folder)], 0
    while waiting and found < _MOST_FILES:
        with suppress(OSError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                found += 1
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                else:
                    yield Path(entry.path)


def _content_sha256(path: Path) -> bytes:
    if not stat.S_ISREG(path.lstat().st_mode):
        return b"not a plain file"
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
