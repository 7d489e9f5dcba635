"""The environment of a trial's processes: built from an allow-list, never copied."""

import os
from collections.abc import Mapping
from pathlib import Path

from swarm.failpoints import for_child
from swarm.supervisor.spec import PhaseSpec, TrialSpec
from swarm.trial.contract import CONFIG_VARIABLE, FOLDER_VARIABLE, PHASE_VARIABLE, code_root

_ALLOWED = frozenset({"PATH", "LD_LIBRARY_PATH", "TZ", "PYTHONPATH"})
_ALLOWED_PREFIXES = ("CUDA_", "NVIDIA_", "PYTORCH_", "OMP_", "MKL_")
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")

INTERPRETER_FLAGS = ("-P", "-s", "-B")
"""No working folder on the import path, no user packages, no bytecode written."""


def allowed(parent: Mapping[str, str]) -> dict[str, str]:
    """What may pass from `parent` to a process of ours: settings of libraries, no key and no token.

    PATH is always there. Hashing and the locale are fixed, so that neither the order of a set nor an encoding can
    differ between two equal trials; without a locale Python would add one to a spawned process and not to a fork.
    """
    passed = {name: value for name, value in parent.items() if name in _ALLOWED or name.startswith(_ALLOWED_PREFIXES)}
    return {"PATH": os.defpath, "PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8", **passed}


def supervisor_environment(parent: Mapping[str, str], spec: TrialSpec) -> dict[str, str]:
    """With what its phases ask for by name, which it hands on to them and to no other."""
    own = {"PYTHONPATH": import_path(parent, spec.pythonpath), FOLDER_VARIABLE: spec.folder}
    asked = _named(parent, tuple(name for phase in spec.phases for name in phase.environment))
    return {**asked, **allowed(parent), **for_child(parent), **own}


_CUDA_CACHE_BYTES = 256 * 1024**2
_TRITON_CACHE = "swarm.harness.triton_cache:SameFolderCache"


def phase_environment(spec: TrialSpec, phase: PhaseSpec, parent: Mapping[str, str]) -> dict[str, str]:
    """HOME and TMPDIR of a trusted phase are T/private, where no candidate can have planted anything."""
    folder = spec.trial_folder
    home = str(folder.private if phase.trusted else folder.scratch)
    caches = {} if phase.trusted else _caches(folder.scratch)
    return {
        **_named(parent, phase.environment),
        **allowed(parent),
        **dict.fromkeys(_THREAD_VARIABLES, str(phase.threads)),
        CONFIG_VARIABLE: str(folder.config),
        PHASE_VARIABLE: phase.name,
        **spec.env,
        "HOME": home,
        "USER": "trial",  # a user of its own has no name, and libraries ask for one
        "TMPDIR": home,
        **caches,
        "PYTHONPATH": import_path(parent, spec.pythonpath),
        FOLDER_VARIABLE: spec.folder,
    }


def _named(parent: Mapping[str, str], names: tuple[str, ...]) -> dict[str, str]:
    return {name: parent[name] for name in names if name in parent}


def _caches(scratch: Path) -> dict[str, str]:
    """Where compilers of a trial keep what they make: below scratch, which ends with the process, so that no trial
    meets what another one has left. And no server of MPS: a trial is capped by its own allocator."""
    return {
        "TORCHINDUCTOR_CACHE_DIR": str(scratch / "inductor"),
        "TORCHINDUCTOR_COMPILE_THREADS": "1",
        "TRITON_CACHE_DIR": str(scratch / "triton"),
        "TRITON_CACHE_MANAGER": _TRITON_CACHE,
        "CUDA_CACHE_PATH": str(scratch / "cuda"),
        "CUDA_CACHE_MAXSIZE": str(_CUDA_CACHE_BYTES),
        "CUDA_MPS_PIPE_DIRECTORY": str(scratch / "no-mps"),
    }


def import_path(parent: Mapping[str, str], pythonpath: tuple[str, ...]) -> str:
    """PYTHONPATH: the trial's own entries, this package's parent folder, then what the parent had. No empty entry,
    which would mean the working folder."""
    entries = [*pythonpath, str(code_root()), *parent.get("PYTHONPATH", "").split(os.pathsep)]
    return os.pathsep.join(dict.fromkeys(entry for entry in entries if entry))
