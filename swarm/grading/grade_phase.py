"""The score of a trial that is not sealed. Trusted: it runs when every process of the command is dead.

What the grader prints goes through files of its own, in a folder that no candidate could ever write. It is not in a
sandbox: it may ask a server over the network, with a key that the target names under `environment`.
"""

import json
import os
import sys
from contextlib import suppress
from pathlib import Path

from swarm.grading.answer import Answer, NoScore, read_answer, read_printed
from swarm.grading.arrays import NotInert
from swarm.grading.commands import run_trusted
from swarm.grading.config import GradedConfig
from swarm.grading.hiding import hide
from swarm.grading.outputs import take_outputs
from swarm.grading.timing import take_rounds
from swarm.trial.contract import CONFIG_VARIABLE, Phase
from swarm.trial.crash import last_words
from swarm.trial.files import Unreadable, read_plain, read_tail, write_whole

MAX_ANSWER_BYTES = 1 << 20
MAX_WORDS_BYTES = 64 << 10  # of what the grader says beside its answer
AWAY = 75
"""A grader's exit code for "not now, and not the candidate's fault": EX_TEMPFAIL of sysexits.h."""


class NotNow(Exception):
    """The grader cannot do its work at the moment. The message says why."""


def main() -> None:
    config = GradedConfig.from_json(Path(os.environ[CONFIG_VARIABLE]).read_text(encoding="utf-8"))
    folder = config.folder
    try:
        answer = _graded(config) if config.grade else read_printed(folder.log_text(Phase.RUN), config.wanted)
    except (NoScore, NotInert, NotNow) as error:
        write_whole(folder.score, json.dumps({"error": str(error), "away": isinstance(error, NotNow)}))
        return
    if answer.items:
        write_whole(folder.items, json.dumps(answer.items))
    value, rows = answer.metrics[config.wanted[0]], len(answer.items)
    fields = {"validation_loss": value, "metrics": answer.metrics, "rows": rows, "flags": answer.flags}
    write_whole(folder.score, json.dumps(fields))


def _graded(config: GradedConfig) -> Answer:
    """Raises NotInert, NoScore and NotNow."""
    if config.rounds:
        take_rounds(config)
    else:
        take_outputs(config.outputs, config.folder.outputs, config.folder.taken_outputs)
    code, text, said = _run(config)
    if code == AWAY:
        raise NotNow(f"the grader cannot grade now. {last_words(said)}")
    if code != 0:
        raise NoScore(f"the grader ended with exit code {code}. {last_words(said)}")
    answer = read_answer(text, config.folder.grader, config.wanted)
    if config.needs_items and not answer.items:
        raise NoScore("the grader named no per_item, and the target says that its noise is that of items")
    return answer


def _run(config: GradedConfig) -> tuple[int, str, str]:
    """The grader's exit code, what it printed, and what it said beside that, which goes to the log. Keys in neither."""
    printed, said = config.folder.private / "grader.out", config.folder.private / "grader.err"
    told = {"SWARM_SEED": str(config.seed)}
    try:
        with printed.open("wb") as out, said.open("wb") as words:
            code = run_trusted("the grader", config.grade, config, told, out, words)
        text = read_plain(printed, MAX_ANSWER_BYTES).decode("utf-8")
    except (Unreadable, UnicodeDecodeError) as error:
        raise NoScore(f"what the grader printed cannot be read: {error}") from error
    finally:
        read = read_tail(said, MAX_WORDS_BYTES).decode("utf-8", errors="replace")
        beside = hide(read, config.environment, os.environ)
        sys.stderr.write(beside)
        sys.stderr.flush()
        for left in (printed, said):
            with suppress(OSError):
                left.unlink()
    return code, hide(text, config.environment, os.environ), beside


if __name__ == "__main__":
    main()
