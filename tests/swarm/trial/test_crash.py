"""A traceback as a model and a person are told it: the program's own lines, and what was raised."""

import subprocess
import sys
from pathlib import Path

from swarm.trial.crash import MAX_FRAMES, MAX_TEXT, crash_told
from swarm.trial.folder import TrialFolder

PROGRAM = """\
import json


def main():
    helper(3)


def helper(depth):
    if depth:
        return helper(depth - 1)
    return json.loads("{")


main()
"""


def output_of(tmp_path: Path, program: str) -> str:
    path = tmp_path / "train.py"
    path.write_text(program)
    return subprocess.run([sys.executable, str(path)], capture_output=True, text=True, check=False).stderr


def test_the_programs_own_lines_are_told_without_those_of_libraries_or_folders(tmp_path: Path) -> None:
    told = crash_told("step 1\nstep 2\n" + output_of(tmp_path, PROGRAM))
    assert told is not None
    lines = told.splitlines()
    assert lines[-2] == 'train.py line 11 in helper: return json.loads("{")'
    assert lines[-1].startswith("json.decoder.JSONDecodeError: Expecting property name")
    assert len(lines) == MAX_FRAMES + 1
    assert str(tmp_path) not in told and "site-packages" not in told and "decoder.py" not in told


def test_the_last_of_several_counts_and_a_message_of_many_lines_is_kept(tmp_path: Path) -> None:
    raising = "try:\n    1 / 0\nexcept ZeroDivisionError:\n    raise RuntimeError('one\\ntwo\\nthree')\n"
    told = crash_told(output_of(tmp_path, raising))
    assert told is not None and "ZeroDivisionError" not in told
    assert told.endswith("RuntimeError: one\ntwo\nthree")


def test_an_error_of_syntax_has_its_line(tmp_path: Path) -> None:
    (tmp_path / "other.py").write_text("x = = 1\n")
    told = crash_told(output_of(tmp_path, f"import sys\nsys.path.insert(0, {str(tmp_path)!r})\nimport other\n"))
    assert told is not None and "other.py line 1" in told and told.endswith("SyntaxError: invalid syntax")


def test_other_output_is_not_touched() -> None:
    assert crash_told("") is None
    assert crash_told("killed") is None
    assert crash_told("Traceback (most recent call last):\n") is None
    assert len(crash_told("Traceback (most recent call last):\nE: " + "x" * 9999) or "") <= MAX_TEXT


def test_a_trials_folder_tells_it(tmp_path: Path) -> None:
    folder = TrialFolder(tmp_path / "t0001")
    folder.make()
    log = folder.log("train")
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("step 1\n" + output_of(tmp_path, PROGRAM))
    told = folder.log_tail("train").splitlines()
    assert told[-1].startswith("json.decoder.JSONDecodeError") and told[0].startswith("train.py line ")
    log.write_text("\n".join(f"line {n}" for n in range(20)))
    assert folder.log_tail("train").splitlines() == [f"line {n}" for n in range(14, 20)]
