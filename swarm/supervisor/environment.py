"""The environment of a trial's processes: built from an allow-list, never copied."""

import os
from collections.abc import Mapping
from pathlib import Path

import swarm
from swarm.supervisor.spec import PhaseSpec, TrialSpec

MARKER = "SWARM_TRIAL_DIR"
"""Holds the trial's folder in every process of a trial: how its left-overs are found."""

_ALLOWED = frozenset({"PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "TZ", "PYTHONPATH"})
_ALLOWED_PREFIXES = ("CUDA_", "NVIDIA_", "PYTORCH_", "OMP_", "MKL_")
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")

INTERPRETER_FLAGS = ("-P", "-s", "-B")
"""No working folder on the import path, no user packages, no bytecode written."""


def allowed(parent: Mapping[str, str]) -> dict[str, str]:
    """What may pass from `parent` to a process of ours: settings of libraries, no key and no token.

    PATH is always there. Hashing is fixed, so that the order of a set cannot differ between two equal trials.
    """
    passed = {
        name: value for name, value in parent.items() if name in _ALLOWED or name.startswith(_ALLOWED_PREFIXES)
    }
    return {"PATH": os.defpath, "PYTHONHASHSEED": "0", **passed}


def supervisor_environment(parent: Mapping[str, str], folder: str, pythonpath: tuple[str, ...]) -> dict[str, str]:
    return {**allowed(parent), "PYTHONPATH": import_path(parent, pythonpath), MARKER: folder}


def phase_environment(spec: TrialSpec, phase: PhaseSpec, parent: Mapping[str, str]) -> dict[str, str]:
    """HOME and TMPDIR of a trusted phase are T/private, where no candidate can have planted anything."""
    folder = Path(spec.folder)
    home = str(folder / ("private" if phase.trusted else "scratch"))
    return {
        **allowed(parent),
        **dict.fromkeys(_THREAD_VARIABLES, str(phase.threads)),
        "SWARM_TRIAL": str(folder / "harness.json"),
        **spec.env,
        "HOME": home,
        "TMPDIR": home,
        "PYTHONPATH": import_path(parent, spec.pythonpath),
        MARKER: spec.folder,
    }


def import_path(parent: Mapping[str, str], pythonpath: tuple[str, ...]) -> str:
    """PYTHONPATH: the trial's own entries, this package's parent folder, then what the parent had. No empty entry,
    which would mean the working folder."""
    ours = str(Path(swarm.__file__).resolve().parent.parent)
    entries = [*pythonpath, ours, *parent.get("PYTHONPATH", "").split(os.pathsep)]
    return os.pathsep.join(dict.fromkeys(entry for entry in entries if entry))
