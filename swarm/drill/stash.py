"""A person who forgets that a study runs: `git stash` puts the tracked brain back to what was committed."""

from collections.abc import Iterator
from pathlib import Path

from swarm.brain import read_records
from swarm.drill.finding import Finding, Scene
from swarm.drill.playground import playground

STASH = "`git stash` while a study runs loses nothing that was acknowledged, and the study goes on."

_TRIALS = 7


def play(folder: Path, ends_by: float) -> Iterator[Finding]:
    with playground(folder, ends_by, tracked_brain=True) as ground:
        ground.up("--workers", "2", "--trials", str(_TRIALS), "--proposer", "tpe", "--no-early-stop")
        ground.until(lambda study: len(study.finished_trials()) >= 2, "two trials end")
        before = {record.id for record in read_records(ground.layout.brain)}
        ground.git("stash")
        code = ground.finish()
        lost = before - {record.id for record in read_records(ground.layout.brain)}
        if len(lost) == len(before):
            yield Finding(STASH, False, f"all {len(lost)} records before it are gone; {ground.last_words()}")
            return
        ended = len(ground.study().finished_trials())
        seen = f"{len(lost)} of {len(before)} records lost, {ended} of {_TRIALS} trials ended, exit code {code}"
        yield Finding(STASH, not lost and ended == _TRIALS and code == 0, seen)


SCENE = Scene("a stash", (STASH,), play)
