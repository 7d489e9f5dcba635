"""A study for other tools: as text, or into their own stores. Only readers of the brain: no trial waits for them."""

from swarm.report.export.rows import EXPORTERS, TrialRow, trial_rows
from swarm.report.export.stores import STORES, Written, export_to

__all__ = ["EXPORTERS", "STORES", "TrialRow", "Written", "export_to", "trial_rows"]
