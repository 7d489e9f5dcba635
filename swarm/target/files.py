"""The files of a target's folder against its target.toml: what may be edited is there, and makes no number."""

import json
from pathlib import Path, PurePosixPath

from swarm.errors import TargetError
from swarm.program.globs import is_literal, may_change
from swarm.records import Grading, TargetTerms


def require_files(terms: TargetTerms, grading: Grading | None, folder: Path, shown: str) -> None:
    """That the globs name files, no more than the limits allow, and none that makes the number. Raises TargetError,
    which begins with `shown`, the target.toml."""
    found = [path for path in _plain_files(folder, folder) if may_change(path, terms)]
    missing = [glob for glob in terms.editable if is_literal(glob) and glob not in found]
    if missing or not found:
        what = json.dumps(missing or list(terms.editable))
        raise TargetError(f"{shown}: editable = {what}: there is no such file in {PurePosixPath(shown).parent}")
    if len(found) > terms.max_files:
        raise TargetError(
            f"{shown}: editable names {len(found)} files, limits.files is {terms.max_files}: name fewer, or raise it "
            f"(up to 64). They are {', '.join(found[:6])}, ..."
        )
    used = sum((folder / path).stat().st_size for path in found)
    if used > terms.max_bytes:
        raise TargetError(
            f"{shown}: the {len(found)} editable file(s) have {used} bytes, the limit is {terms.max_bytes}: name fewer"
            + ("." if terms.grade == "sealed" else ", or raise limits.bytes (up to 262144).")
        )
    if grading is not None:
        _require_own_grader(grading, found, folder, shown)


def _require_own_grader(grading: Grading, editable: list[str], folder: Path, shown: str) -> None:
    """That nobody may edit what makes the number, and that there is a program to measure against."""
    commands = {"grade.command": grading.grade, "rounds.make": grading.rounds.make if grading.rounds else ()}
    for key, command in commands.items():
        if own := sorted(set(command) & set(editable)):
            raise TargetError(
                f"{shown}: {key} names {own[0]}, which editable allows to change: "
                "whoever may edit the grader makes the number. Move it into a folder that no glob names."
            )
    if grading.rounds is not None:
        reference = folder / grading.rounds.reference
        if missing := [path for path in editable if not (reference / path).is_file()]:
            raise TargetError(
                f"{shown}: rounds.reference is {grading.rounds.reference}, and there is no {missing[0]} in it: it "
                "holds the fixed program, a copy of each editable file"
            )


def _plain_files(folder: Path, top: Path) -> list[str]:
    """Paths of plain files that do not lead out, relative to `top`; dot folders are passed over."""
    found = []
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.name == "__pycache__" or path.is_symlink():
            continue
        if path.is_dir():
            found += _plain_files(path, top)
        elif path.is_file():
            found.append(path.relative_to(top).as_posix())
    return found
