"""What is written down: the records of the brain and the study's vocabulary.

Every record is frozen, and one record is one line of `swarm_brain.jsonl`. The envelope (`v` to `prev`) is filled in by
`swarm.brain` at the moment of the append; a record made by anybody else carries the defaults. All records have the
three keys of the original two-agent run, `agent_id`, `validation_loss` and `description`.

Units stand in the names: `_s` seconds, `_mib` MiB. `validation_loss` holds the value of the study's objective, which is
the mean cross-entropy in nats for the targets that come with the swarm. A missing number is None and never zero; a
failed trial has a reason and no value.
"""

from swarm.records.envelope import Record
from swarm.records.fit import fitted
from swarm.records.judging import FinalsClosed, FinalsOpened, FinalsRound, IncumbentChanged, VerdictReached
from swarm.records.kinds import (
    KNOWN_KINDS,
    History,
    Note,
    ProposalClaimed,
    ProposalRejected,
    Steer,
    StudyClosed,
    StudyOpened,
    TrialFinished,
    TrialStarted,
    UnknownRecord,
    WorkerStatus,
    parse_record,
)
from swarm.records.terms import Grade, Grading, Guard, NoiseKind, Output, Rounds, Shown, TargetTerms
from swarm.records.text import Block, Line, block, one_line
from swarm.records.values import (
    BESIDE_TRAINING_S,
    FORMAT_VERSION,
    MAX_DESCRIPTION,
    MAX_LINE_BYTES,
    Budget,
    Decision,
    FailReason,
    ObjectiveTerms,
    Operator,
    Proposal,
    Resources,
    Scalar,
    Score,
    TrialState,
    Usage,
)

__all__ = [
    "BESIDE_TRAINING_S",
    "FORMAT_VERSION",
    "KNOWN_KINDS",
    "MAX_DESCRIPTION",
    "MAX_LINE_BYTES",
    "Block",
    "Budget",
    "Decision",
    "FailReason",
    "FinalsClosed",
    "FinalsOpened",
    "FinalsRound",
    "Grade",
    "Grading",
    "Guard",
    "History",
    "IncumbentChanged",
    "Line",
    "NoiseKind",
    "Note",
    "ObjectiveTerms",
    "Operator",
    "Output",
    "Proposal",
    "ProposalClaimed",
    "ProposalRejected",
    "Record",
    "Resources",
    "Rounds",
    "Scalar",
    "Score",
    "Shown",
    "Steer",
    "StudyClosed",
    "StudyOpened",
    "TargetTerms",
    "TrialFinished",
    "TrialStarted",
    "TrialState",
    "UnknownRecord",
    "Usage",
    "VerdictReached",
    "WorkerStatus",
    "block",
    "fitted",
    "one_line",
    "parse_record",
]
