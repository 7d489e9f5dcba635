"""All safeguards that docs/promises.md claims, room by room."""

from mutants.rows import admission, brain, gate, proposers, repo, sandbox, study, supervisor, verdict

SAFEGUARDS = (
    *(*brain.ROWS, *repo.ROWS, *gate.ROWS, *verdict.ROWS, *admission.ROWS, *proposers.ROWS),
    *(*sandbox.ROWS, *supervisor.ROWS, *study.ROWS),
)
