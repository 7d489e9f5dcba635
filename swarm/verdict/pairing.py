"""Per-image losses of two programs, read for a paired comparison on the same validation images."""

from pathlib import Path

from swarm import verdict
from swarm.study.settings import Layout
from swarm.study.state import Program


def pair_runs(
    layout: Layout, study_id: str, challenger: Program, reference: Program
) -> verdict.PairedDifference | None:
    """The difference image by image, averaged over the runs on each side; None when a side has no losses on disk."""
    mine, theirs = (
        [row for trial in program.trials if (row := _losses(layout.trial(study_id, trial.trial_id))) is not None]
        for program in (challenger, reference)
    )
    if not mine or not theirs:
        return None
    return verdict.paired_difference(mine, theirs)


def _losses(folder: Path) -> list[float] | None:
    """Cross-entropy of each validation image, [rows], in the order of the split; None if the trial left none."""
    import numpy as np

    try:
        row: list[float] = np.load(folder / "private" / "losses.npy", allow_pickle=False).astype("float64").tolist()
    except (OSError, ValueError):
        return None
    return row
