"""All safeguards that docs/promises.md claims, room by room."""

from mutants.rows import (
    admission,
    box,
    brain,
    cards,
    documentation,
    experts,
    gate,
    home,
    nodes,
    own_targets,
    pods,
    proposers,
    repo,
    sandbox,
    sharing,
    study,
    supervisor,
    text,
    trial,
    verdict,
    watchdog,
    watching,
)
from mutants.safeguard import Safeguard

SAFEGUARDS: tuple[Safeguard, ...] = (
    *(*brain.ROWS, *repo.ROWS, *gate.ROWS, *verdict.ROWS, *admission.ROWS, *proposers.ROWS),
    *(*sandbox.ROWS, *supervisor.ROWS, *study.ROWS, *trial.ROWS, *documentation.ROWS, *cards.ROWS, *box.ROWS),
    *(*watchdog.ROWS, *watching.ROWS, *pods.ROWS, *home.ROWS, *nodes.ROWS, *sharing.ROWS, *text.ROWS),
    *own_targets.ROWS,
    *experts.ROWS,
)

FAST = frozenset(
    {
        *("torn-tail-set-aside", "trial-claimed-once", "chain", "fsync-before-acknowledged", "bad-line-skipped"),
        *("gate-imports", "gate-duplicate", "keep-needs-its-level", "noise-floor-first", "replicate-on-a-fresh-seed"),
        *("reservations-summed", "bypass-limit", "no-kill-for-a-spike", "limits-survive-resume", "trials-limited"),
        *("train-sees-its-split-only", "predict-sees-no-order", "predict-writes-no-weights", "over-budget"),
        *("calls-ptrace", "calls-by-a-list", "supervisor-closed", "finite-logits", "redact-base64"),
    }
)
"""Those that `make test` runs: seconds in all, some of each room."""
