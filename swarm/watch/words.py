"""The sentences of a Frame, the same in a terminal and on a page. Plain text: whoever shows it quotes it."""

from collections.abc import Iterator
from datetime import datetime

from swarm.study.caution import caution
from swarm.watch.frame import Card, Frame, Node, Slot, Waiting

SILENT_S = 15.0  # without a step, from which on it is said


def duration(seconds: float) -> str:
    """Two units at most: 45 s, 12 min, 5 h 03 min, 2 d 4 h."""
    seconds = max(0.0, seconds)
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes:02d} min"
    return f"{hours // 24} d {hours % 24} h"


def clock_time(at: float) -> str:
    return f"{datetime.fromtimestamp(at):%H:%M:%S}"


def state_of(seen: Frame) -> str:
    """How it is with the study, after the one word for it."""
    if seen.state == "running":
        return f" for {duration(seen.at - seen.began_at)}"
    ago = f" ({duration(seen.at - seen.last_record_at)} ago)" if seen.state == "ended" else ""
    last = "" if ago else f"; last record {duration(seen.at - seen.last_record_at)} ago"
    return f": {seen.why}{ago}{last}"


def warning_of(seen: Frame) -> str | None:
    """What has to stand in red beside every number, if anything has."""
    return caution(seen.data, seen.grade)


def facts_of(seen: Frame) -> Iterator[tuple[str, str]]:
    """(name, what is so) in the order in which a person asks."""
    better = "higher" if seen.maximized else "lower"
    yield "runs", f"{seen.target} on {seen.device}; {seen.budget} a trial"
    yield "objective", f"{_label(seen)}, {better} is better; grade: {seen.grade}"
    yield "trials", _trials(seen)
    yield "incumbent", _incumbent(seen)
    if seen.gain is not None:
        yield "gain", _gain(seen)
    yield "noise", _noise(seen)
    if (pace := _pace(seen)) is not None:
        yield "pace", pace
    if (finals := _finals(seen)) is not None:
        yield "finals", finals
    if (spend := _spend(seen)) is not None:
        yield "spend", spend
    for card in seen.cards:
        yield "device", _card(card)
    if seen.vetoed:
        yield "vetoed", ", ".join(seen.vetoed)


def node_memory(node: Node) -> str:
    """What is free of what its devices have."""
    return f"{node.free_mib:,} of {node.total_mib:,} MiB free" if node.cards else "unknown"


def node_device(node: Node) -> str:
    """Its cards, all of one model, or its processor."""
    return f"{node.cards} x {node.device_class}" if node.cards > 1 else node.device_class


def node_heard(node: Node) -> str:
    """When it last said something."""
    return f"{duration(node.heard_s)} ago"


def slot_note(slot: Slot) -> str:
    """What is tried, after what is odd about it."""
    odd = [f"on {slot.node}"] if slot.node else []
    if slot.restarts:
        odd.append(f"restarted {slot.restarts}x")
    if slot.doing == "training" and slot.silent_s is not None and slot.silent_s >= SILENT_S:
        odd.append(f"no step for {duration(slot.silent_s)}")
    return f"({', '.join(odd)}) {slot.description}" if odd else slot.description


def waiting_text(one: Waiting) -> str:
    """Who waits for how much memory, why, and how long yet."""
    whose = f"{one.agent_id} of another study" if one.elsewhere else one.agent_id
    soon = "" if one.starts_within_s is None else f"; starts within {duration(one.starts_within_s)}"
    wants = f"{one.trial_id} of {whose} wants {one.memory_mib:,} MiB, for {duration(one.waited_s)}"
    return f"{wants}: {one.reason}{soon}"


def _label(seen: Frame) -> str:
    return f"{seen.objective} ({seen.unit})" if seen.unit else seen.objective


def _with_unit(seen: Frame, number: float) -> str:
    return f"{seen.amount(number)} {seen.unit}".strip()


def _trials(seen: Frame) -> str:
    counts = seen.counts
    of = f" of {counts.wanted}" if counts.wanted is not None and counts.trials <= counts.wanted else ""
    parts = [f"{counts.complete} complete", f"{counts.open} open"]
    parts += [f"{number} {word}" for number, word in ((counts.failed, "failed"), (counts.pruned, "pruned")) if number]
    refused = f"; {counts.refused} proposals refused" if counts.refused else ""
    held = f"; {counts.held} held for the finals" if counts.held else ""
    return f"{counts.trials}{of}: {', '.join(parts)}; {counts.kept} kept{held}{refused}"


def _incumbent(seen: Frame) -> str:
    mean = seen.incumbent
    if mean is None:
        return "none before the first result"
    half = "" if mean.high is None else f" ± {seen.amount(mean.high - mean.value)}"
    runs = "1 run" if mean.runs == 1 else f"{mean.runs} runs"
    return f"{mean.program} {_with_unit(seen, mean.value)}{half} ({runs}), {mean.standing}: {mean.description}"


def _gain(seen: Frame) -> str:
    assert seen.gain is not None
    amount, low, high = seen.gain.amount, seen.gain.low, seen.gain.high
    word = "better" if amount >= 0 else "worse"
    between = "" if low is None or high is None else f", 95 % {seen.amount(low)} to {seen.amount(high)}"
    said = f"{word} than the baseline by {_with_unit(seen, abs(amount))}{between}"
    return f"{said}; by its own runs, which chose it" if seen.incumbent and seen.incumbent.standing != "kept" else said


def _noise(seen: Frame) -> str:
    if seen.noise_sigma is None:
        return "not measured yet"
    where = f", on {seen.device} alone" if seen.nodes else ""
    return f"{_with_unit(seen, seen.noise_sigma)} from run to run{where}, {seen.noise_degrees} degrees of freedom"


def _pace(seen: Frame) -> str | None:
    if seen.trials_an_hour is None:
        return None
    rate = f"{seen.trials_an_hour:.3g} trials an hour"
    if seen.end is None:
        return rate if seen.state == "ended" else f"{rate}; no limit ends it: swarm stop does"
    moment = _moment(seen.end.at)
    left = seen.end.at - seen.at
    if left <= 0:
        return f"{rate}; its end by {seen.end.limit} is due"
    return f"{rate}; ends about {moment}, in {duration(left)}, by its limit of {seen.end.limit}"


def _finals(seen: Frame) -> str | None:
    ahead = seen.finals
    if ahead is None:
        return None
    runs = "1 run" if ahead.runs == 1 else f"{ahead.runs} runs"
    begun = f"running, {runs} left" if ahead.begins_at is None else f"begin about {_moment(ahead.begins_at)}, {runs}"
    return f"{begun}; end about {_moment(ahead.ends_at)}" if ahead.ends_at is not None else begun


def _moment(at: float) -> str:
    return f"{datetime.fromtimestamp(at):%a %H:%M}"


def _spend(seen: Frame) -> str | None:
    spend = seen.spend
    if spend is None:
        return None
    usd = "an unknown sum" if spend.usd is None else f"{spend.usd:.2f}"
    usd += f" of {spend.max_usd:.2f} USD" if spend.max_usd is not None else "" if spend.usd is None else " USD"
    tokens = "an unknown number of tokens" if spend.tokens is None else f"{spend.tokens:,}"
    tokens += f" of {spend.max_tokens:,} tokens" if spend.max_tokens is not None else ""
    tokens += " tokens" if spend.tokens is not None and spend.max_tokens is None else ""
    return f"{usd}, {tokens}, {spend.calls} calls of models"


def _card(card: Card) -> str:
    others = f", {card.foreign_mib:,} used by others" if card.foreign_mib else ""
    fault = f"; NOT ANSWERING: {card.fault}" if card.fault else ""
    reserved = f"{card.reserved_mib:,} of {card.total_mib:,} MiB reserved"
    return f"{card.name}: {reserved}{others}, room for {card.room_mib:,} MiB{fault}"
