"""A study that goes on: what it keeps, what a person changes, and what nobody may change. Pure.

What is not given again is what the study had, its limits on money and tokens above all: a person raises or lowers them,
and lifts one only by the word `unlimited`.
"""

import math
from collections.abc import Iterator

from swarm.errors import UsageError
from swarm.study.model_server import split_model, split_specs
from swarm.study.options import UNLIMITED, UpOptions, check_worker_names, worker_names
from swarm.study.settings import ProposerSettings, RunSettings

_FREE = ("sandbox", "start_up", "seed", "memory", "memory_lot", "early_stop", "stop_at_plateau", "finals", "executor")
_SERVER = ("model", "base_url")
_LIMITS = ("max_usd", "max_tokens")
_PRICES = ("price_in", "price_out")


def resumed(settings: RunSettings, options: UpOptions, now: float) -> tuple[RunSettings, tuple[str, ...]]:
    """The settings of a study that goes on, and each change as a text such as `worker_1 max_usd: 5 -> 8`.

    `now` in epoch seconds, for `hours`. Raises UsageError for an option that would make results incomparable, and for a
    worker that this run does not have.
    """
    _refuse_what_is_fixed(settings, options)
    names = worker_names(options.workers) if "workers" in options.given else tuple(settings.proposers)
    check_worker_names(options.worker_proposers, names)
    update: dict[str, object] = {
        "workers": len(names),
        "proposers": {name: _proposer(settings, options, name) for name in names},
    }
    if "trials" in options.given:
        update["trials"] = _bounded(options.trials)
    if options.hours is not None:
        update["deadline_at"] = _bounded(now + options.hours * 3600)
    if settings.finals == "now":  # those of a run before; they hold for that run only
        update["finals"] = "auto"
    update |= {name: getattr(options, name) for name in _FREE if name in options.given}
    if options.gpu_mode != "auto":
        update["gpu_mode"] = options.gpu_mode
    after = settings.model_copy(update=update)
    return after, tuple(_changes(settings, after))


def proposer_settings(spec: str, options: UpOptions) -> ProposerSettings:
    """Of one worker, from its spec and what was asked for all; a spec of several models has commas between them."""
    first, *others = split_specs(spec)
    if others:
        more = tuple(proposer_settings(other, options) for other in others)
        return proposer_settings(first, options).model_copy(update={"others": more})
    kind, _, rest = spec.partition(":")
    model, url = split_model(rest) if kind == "openai" else ("", None)
    return ProposerSettings(
        spec=kind if kind == "openai" else spec,
        model=model or options.model,
        base_url=url or options.base_url,
        max_usd=_bounded(options.max_usd),
        max_tokens=_bounded(options.max_tokens),
        price_in=options.price_in,
        price_out=options.price_out,
    )


def terms(settings: RunSettings) -> dict[str, str]:
    """What a person may change when a study goes on, as texts by name; `unlimited` where there is no limit."""
    common = {
        "workers": str(settings.workers),
        "trials": _text(settings.trials),
        "deadline_at": _text(settings.deadline_at),
        "gpu_mode": settings.gpu_mode,
        **{name: str(getattr(settings, name)) for name in _FREE},
    }
    for name, chosen in settings.proposers.items():
        fields = chosen.model_dump()
        common |= {
            f"{name} {key}": _text(value) for key, value in fields.items() if key in _LIMITS or value is not None
        }
    return common


def _proposer(settings: RunSettings, options: UpOptions, name: str) -> ProposerSettings:
    """A worker that the study did not have begins like its first one, with the same limits."""
    had = settings.proposers.get(name) or next(iter(settings.proposers.values()))
    update: dict[str, object] = {}
    spec = options.worker_proposers.get(name) or (options.proposer if "proposer" in options.given else None)
    if spec is not None:
        asked = proposer_settings(spec, options)
        update |= {"spec": asked.spec, "others": asked.others}
        if had.spec.partition(":")[0] != asked.spec.partition(":")[0]:  # another server: its model is no use there
            update |= {"model": None, "base_url": None}
        update |= {name: value for name in _SERVER if (value := getattr(asked, name)) is not None}
    else:
        update |= {name: value for name in _SERVER if (value := getattr(options, name)) is not None}
    for limit in _LIMITS:
        if (value := getattr(options, limit)) is not None:
            update[limit] = _bounded(value)
    if options.price_in is not None:
        update |= {price: getattr(options, price) for price in _PRICES}
    return had.model_copy(update=update)


def _refuse_what_is_fixed(settings: RunSettings, options: UpOptions) -> None:
    """What a trial runs on and for how long stays. Raises UsageError naming the flag and what the study has."""
    had: tuple[tuple[str, object, tuple[object, ...]], ...] = (
        ("target", options.target.removeprefix("./").rstrip("/"), (settings.target, settings.target_folder)),
        ("device", options.device, (settings.device, "auto")),
        ("data", options.data, (settings.dataset, "auto", settings.dataset.removesuffix("-text"))),
        ("budget_s", options.budget_s, (settings.budget.amount,)),
    )
    for name, asked, allowed in had:
        if name in options.given and asked not in allowed:
            raise UsageError(
                f"--resume: --{name.replace('_', '-')} is {asked}, and study {settings.study_id} has {allowed[0]}: its "
                "results would not be comparable. Leave it out, or start a new study without --resume."
            )


def _changes(before: RunSettings, after: RunSettings) -> Iterator[str]:
    had, has = terms(before), terms(after)
    for name in dict.fromkeys((*had, *has)):
        old, new = had.get(name, "none"), has.get(name, "none")
        if old != new:
            yield f"{name}: {old} -> {new}"


def _bounded(limit: float | None) -> float | None:
    return None if limit == math.inf else limit


def _text(value: object) -> str:
    return UNLIMITED if value is None else f"{value:.12g}" if isinstance(value, float) else str(value)
