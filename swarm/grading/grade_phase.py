"""The score of a trial that is not sealed. Trusted: it runs when every process of the command is dead.

What the grader prints goes through a file of its own, in a folder that no candidate could ever write.
"""

import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from swarm.grading.answer import Answer, NoScore, read_answer, read_printed
from swarm.grading.arrays import NotInert
from swarm.grading.config import GradedConfig
from swarm.grading.outputs import take_outputs
from swarm.trial.contract import CONFIG_VARIABLE, Phase
from swarm.trial.files import Unreadable, read_plain, write_whole

MAX_ANSWER_BYTES = 1 << 20
_PYTHONS = ("python", "python3")


def main() -> None:
    config = GradedConfig.from_json(Path(os.environ[CONFIG_VARIABLE]).read_text(encoding="utf-8"))
    folder = config.folder
    try:
        answer = _graded(config) if config.grade else read_printed(folder.log_text(Phase.RUN), config.wanted)
    except (NoScore, NotInert) as error:
        write_whole(folder.score, json.dumps({"error": str(error)}))
        return
    if answer.items:
        write_whole(folder.items, json.dumps(answer.items))
    fields = {"validation_loss": answer.metrics[config.wanted[0]], "metrics": answer.metrics, "rows": len(answer.items)}
    write_whole(folder.score, json.dumps(fields))


def _graded(config: GradedConfig) -> Answer:
    """Raises NotInert and NoScore."""
    here = config.folder.grader
    take_outputs(config.outputs, config.folder.outputs, config.folder.taken_outputs)
    printed = config.folder.private / "grader.out"
    program, *arguments = config.grade
    command = [sys.executable if program in _PYTHONS else program, *arguments]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    environment.pop(CONFIG_VARIABLE, None)
    try:
        with printed.open("wb") as out:
            ended = subprocess.run(
                command,
                cwd=here,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                timeout=config.grade_limit_s,
                check=False,
            )
    except subprocess.TimeoutExpired as error:
        raise NoScore(f"the grader took longer than its limit of {config.grade_limit_s:g} s") from error
    except OSError as error:
        raise NoScore(f"the grader {config.grade[0]!r} cannot be started: {error.strerror}") from error
    if ended.returncode != 0:
        raise NoScore(f"the grader ended with exit code {ended.returncode}. {config.folder.log_tail(Phase.GRADE)}")
    try:
        text = read_plain(printed, MAX_ANSWER_BYTES).decode("utf-8")
    except (Unreadable, UnicodeDecodeError) as error:
        raise NoScore(f"what the grader printed cannot be read: {error}") from error
    with suppress(OSError):
        printed.unlink()
    answer = read_answer(text, here, config.wanted)
    if config.needs_items and not answer.items:
        raise NoScore("the grader named no per_item, and the target says that its noise is that of items")
    return answer


if __name__ == "__main__":
    main()
