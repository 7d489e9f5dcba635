"""Takes what a dead command has left in outputs/: declared names, as inert data, copied before a grader sees it."""

import json
import os
from pathlib import Path

from swarm.grading.arrays import NotInert, read_head
from swarm.grading.config import DeclaredOutput
from swarm.trial.files import Unreadable, read_plain


def take_outputs(declared: tuple[DeclaredOutput, ...], source: Path, destination: Path) -> None:
    """Checks and copies each. Raises NotInert for the first one that is not as it was declared.

    No link is followed, nothing that is not a plain file is opened, and what is read is bounded. Other files stay.
    """
    if source.is_symlink() or not source.is_dir():
        raise NotInert("outputs/ is no folder")
    destination.mkdir(mode=0o700)
    for output in declared:
        try:
            content = read_plain(source / output.name, output.max_bytes)
        except Unreadable as error:
            raise NotInert(f"output {error}; the limit is {output.max_bytes} bytes") from error
        try:
            _require(content, output)
        except NotInert as error:
            raise NotInert(f"output {output.name}: {error}") from error
        with os.fdopen(os.open(destination / output.name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)


def _require(content: bytes, output: DeclaredOutput) -> None:
    match output.type:
        case "npy":
            _require_array(content, output)
        case "json":
            try:
                json.loads(content, parse_constant=_no_constant)
            except (ValueError, RecursionError) as error:
                raise NotInert(f"it is no JSON: {str(error)[:80]}") from error
        case _:
            try:
                content.decode("utf-8")
            except UnicodeDecodeError as error:
                raise NotInert(f"it is no UTF-8 text: {error.reason}") from error


def _require_array(content: bytes, output: DeclaredOutput) -> None:
    head = read_head(content)
    if output.dtype and head.dtype != output.dtype:
        raise NotInert(f"it is of {head.dtype}, declared is {output.dtype}")
    if output.shape is None:
        return
    fits = len(head.shape) == len(output.shape) and all(
        wanted in (-1, side) for side, wanted in zip(head.shape, output.shape, strict=True)
    )
    if not fits:
        raise NotInert(f"its shape is {head.shape}, declared is {output.shape}")


def _no_constant(text: str) -> object:
    raise ValueError(f"{text} is no number of JSON")
