"""The data of a study, made before its first second."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from swarm.errors import SwarmError, UsageError
from swarm.records import Grading
from swarm.records.data import named
from swarm.study.options import DataChoice
from swarm.study.settings import RunSettings
from swarm.trial.asked import Harness
from swarm.trial.config import Device
from swarm.trial.contract import code_root, is_secret


class DataReport(BaseModel):
    """What `python -m swarm.harness.prepare --json` prints last."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    dataset: str
    data_dir: Path


OWN, STANDIN_MODEL = "own", "standin-model"


def own_data(root: Path, grading: Grading, environment: Mapping[str, str]) -> DataReport:
    """Of a target that is not sealed: it brings its own, with its folder. What its grader is told in variables, such as
    a server and a model, makes the number too, and is part of the name; keys are not."""
    if grading.stand_in_without and not environment.get(grading.stand_in_without):
        return DataReport(dataset=STANDIN_MODEL, data_dir=root)
    told = sorted(f"{name}={environment[name]}" for name in grading.environment if environment.get(name))
    told = [one for one in told if not is_secret(one.partition("=")[0])]
    digest = hashlib.sha256("\n".join(told).encode()).hexdigest()[:8]
    return DataReport(dataset=f"{OWN}-{digest}" if told else OWN, data_dir=root)


def require_same_grader(settings: RunSettings, environment: Mapping[str, str]) -> None:
    """Raises UsageError where the grader would be told something else than when the study began."""
    if settings.grading is None or not settings.grading.environment:
        return
    now = own_data(settings.root, settings.grading, environment).dataset
    if now != settings.dataset:
        names = ", ".join(settings.grading.environment)
        raise UsageError(
            f"--resume: study {settings.study_id} was graded on {named(settings.dataset)} ({settings.dataset}), and "
            f"with the variables of now it would be {named(now)} ({now}): its results would not be comparable. Set "
            f"{names} as they were, or start a new study without --resume."
        )


def prepared_as(dataset: str) -> tuple[Harness, DataChoice]:
    """How the data set of this name is made elsewhere. Own text is what SWARM_TEXT names there."""
    match dataset:
        case "standin":
            return "images", "standin"
        case "standin-text":
            return "text", "standin"
        case "kjv":
            return "text", "kjv"
    return ("text", "auto") if dataset.startswith("text-") else ("images", "cifar100")


def prepare_data(choice: DataChoice, device: Device, harness: Harness, say: Callable[[str], None]) -> DataReport:
    """Make the data cache in a process of its own, since decoding needs numpy and a download takes long. On a CPU
    `auto` fetches no images, which are large."""
    if choice == "auto" and (device, harness) == ("cpu", "images") and not os.environ.get("SWARM_DATA"):
        choice = "standin"
    command = [sys.executable, "-P", "-m", "swarm.harness.prepare", "--harness", harness]
    command += ["--dataset", choice, "--json"]
    process = subprocess.Popen(command, cwd=code_root(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    last = ""
    with process.stdout as lines:
        for line in lines:
            last = line.strip() or last
            if last and not last.startswith("{"):
                say(last)
    if process.wait() != 0:
        raise SwarmError(f"the data could not be prepared (exit code {process.returncode}); the reason stands above")
    try:
        return DataReport.model_validate_json(last)
    except ValidationError:
        raise SwarmError(f"the data was prepared, but the last line of that is not a report: {last[:200]}") from None


def data_sha256(data_dir: Path) -> str:
    """Hash over names and contents of the prepared arrays: two machines have the same data only if it is equal. About
    a second for CIFAR-100. Raises SwarmError when there are none."""
    digest = hashlib.sha256()
    paths = sorted(data_dir.rglob("*.npy"))
    if not paths:
        raise SwarmError(f"there is no prepared data in {data_dir}")
    for path in paths:
        digest.update(path.relative_to(data_dir).as_posix().encode() + b"\0")
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
