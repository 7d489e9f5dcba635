"""Whether a study may go on where its own rule has ended its search."""

from swarm.errors import UsageError
from swarm.study.options import UpOptions
from swarm.study.state import StudyState
from swarm.verdict.plateau import plateau_of


def refuse_a_plateau(study: StudyState, options: UpOptions) -> None:
    """A search that ended at a plateau goes on only if a person says so; its finals go on as ever. Raises UsageError
    with the evidence."""
    lifted = "stop_at_plateau" in options.given and not options.stop_at_plateau
    if lifted or options.finals == "now" or (evidence := plateau_of(study)) is None:
        return
    raise UsageError(
        f"--resume: the search of {study.study_id} ended early, at a plateau: {evidence}. To search on all the same, "
        "give --no-stop-at-plateau; finals that were not held or not ended go on with `swarm finals`."
    )
