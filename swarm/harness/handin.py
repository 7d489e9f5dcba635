"""The hand-in: the weights, and what there is to know about how they were trained."""

import json
import resource
import time

import torch
from torch import Tensor, nn

from swarm.harness import compiler
from swarm.harness import session as sessions
from swarm.harness.errors import ContractBroken
from swarm.harness.session import Session
from swarm.trial.config import TrialConfig
from swarm.trial.files import write_whole

_WRAPPERS = ("_orig_mod.", "module.")
_MIB = 1 << 20
_UNCOMPILED = "not compiled: torch could compile nothing of it, see the log of train"


def finish(model: nn.Module) -> None:
    """Saves the weights; prediction and scoring happen elsewhere. Call it once, at the end of `main`.

    Compiled models and averages (`torch.optim.swa_utils.AveragedModel`) are unwrapped: what counts is that
    `build_model()` accepts the tensors under its own names. Prints `key: value` lines, which are a log and no result.
    """
    session = sessions.current()
    if session.finished:
        raise ContractBroken("finish(model) was called twice")
    if session.clock.step == 0:
        raise ContractBroken(f"finish(model) was called before any training step{_no_time_left(session)}")
    session.before_hand_in(model)
    folder = session.config.folder
    draft = folder.weights.with_name(f"{folder.weights.name}.tmp")
    torch.save(plain_state(model), draft)
    draft.replace(folder.weights)
    facts = _facts(session, model)
    write_whole(folder.train_report, json.dumps(facts) + "\n")
    _print_log(session, facts)
    session.finished = True


def _no_time_left(session: Session) -> str:
    used_s, budget = session.clock.used, session.config.budget
    if budget.kind == "samples" or used_s < budget.amount:
        return ""
    return f": the set-up took all of the budget ({used_s:.0f} s charged of {budget.amount:g} s), prepare less"


def plain_state(model: nn.Module) -> dict[str, Tensor]:
    """The tensors of the innermost module on the CPU, named as `build_model()` names them."""
    inner = model
    while isinstance(wrapped := getattr(inner, "_orig_mod", None) or _averaged(inner), nn.Module):
        inner = wrapped
    return {
        name.replace(_WRAPPERS[0], ""): tensor.detach().cpu().contiguous().clone()
        for name, tensor in inner.state_dict().items()
    }


def _averaged(model: nn.Module) -> nn.Module | None:
    """The wrapped module, if `model` is nothing but a wrapper: one child, called `module`."""
    children = dict(model.named_children())
    return children.get("module") if len(children) == 1 else None


def _facts(session: Session, model: nn.Module) -> dict[str, object]:
    clock, config = session.clock, session.config
    wall_s = max(clock.wall_s, 1e-9)
    return {
        "steps": clock.step,
        "samples": clock.samples,
        "epochs": round(clock.samples / max(1, session.train_rows), 4),
        "budget_kind": config.budget.kind,
        "training_seconds": round(clock.used if config.budget.kind != "samples" else clock.wall_s, 3),
        "total_seconds": round(sessions.seconds_since_process_start(), 3),
        "wall_seconds": round(clock.wall_s, 3),
        "off_clock_steps": clock.optimizer_steps.off_clock,
        "optimizer_steps": clock.optimizer_steps.most,
        "loop_cpu_seconds": round(clock.loop_cpu_s, 3),
        "images_per_s": round(clock.samples / wall_s, 1),
        "solo_rate": _solo_rate(session),
        "num_params_M": round(sum(parameter.numel() for parameter in model.parameters()) / 1e6, 4),
        "train_loss": None if clock.loss != clock.loss else round(clock.loss, 6),
        "curve": clock.curve,
        "overhead_s": _overhead(session),
        "compilation": session.compilation or (_UNCOMPILED if compiler.failed() else None),
        "meter": clock.meter_facts,
        "compile_seconds": round(compiler.compiled_s(), 3),
        "seed": config.seed,
        "own_seed": clock.own_seed,
        "device": _device_name(session.device),
        "torch": torch.__version__,
        **memory_facts(session.device, config),
    }


def _solo_rate(session: Session) -> float | None:
    """Images per second of solo time, None where the budget is not counted in it."""
    if session.config.budget.kind != "solo_seconds" or session.clock.used <= 0:
        return None
    return round(session.clock.samples / session.clock.used, 1)


def memory_facts(device: torch.device, config: TrialConfig) -> dict[str, object]:
    """Peak memory in MiB: of the CUDA allocator, or on a CPU of the process (its resident set)."""
    if device.type == "cpu":
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        return {
            "peak_vram_mb": round(peak, 1),
            "peak_reserved_mib": round(peak, 1),
            "alloc_retries": 0,
            "cap_lifted": False,
        }
    reserved = torch.cuda.max_memory_reserved(device) / _MIB
    return {
        "peak_vram_mb": round(torch.cuda.max_memory_allocated(device) / _MIB, 1),
        "peak_reserved_mib": round(reserved, 1),
        "alloc_retries": int(torch.cuda.memory_stats(device).get("num_alloc_retries", 0)),
        "cap_lifted": _cap_lifted(reserved, config),
    }


def _cap_lifted(reserved_mib: float, config: TrialConfig) -> bool:
    """True if the program raised its own cap, or reserved more than it allows (1 % is the allocator's rounding)."""
    if config.memory_fraction is None:
        return False
    above = config.memory_cap_mib is not None and reserved_mib > 1.01 * config.memory_cap_mib
    return above or torch.cuda.get_per_process_memory_fraction() > config.memory_fraction + 1e-6


def _overhead(session: Session) -> dict[str, float]:
    """Seconds outside training. `build` is the program's own set-up; the slow part of the first step is `compile`."""
    steps = session.clock.warm_up_s
    usual = min(steps, default=0.0)
    compile_s = max(0.0, steps[0] - usual) if steps else 0.0
    known = {
        **session.overhead_s,
        "compile": compile_s,
        "warmup": sum(steps) - compile_s,
        "rungs": session.clock.rung_s,
    }
    spent = time.monotonic() - session.began_s - session.clock.wall_s
    known["build"] = max(0.0, spent - sum(known.values()) + known["import"])
    return {name: round(seconds, 3) for name, seconds in known.items()}


def _print_log(session: Session, facts: dict[str, object]) -> None:
    names = ("training_seconds", "total_seconds", "peak_vram_mb")
    lines = {"loss": facts["train_loss"], **{name: facts[name] for name in names}, "num_steps": facts["steps"]}
    more = ("num_params_M", "epochs", "images_per_s", "budget_kind", "seed", "device")
    for name, value in {**lines, **{name: facts[name] for name in more}}.items():
        print(f"{name}: {value}")
    print(f"budget_used: {session.clock.used:.3f} of {session.config.budget.amount:g}", flush=True)


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
