"""A Frame as text that fits a terminal of any width from 60 columns on: nothing is folded into one column.

What comes from outside (descriptions, reasons, names) is put into `Text`, never parsed as markup.
"""

import io
from collections.abc import Iterable, Iterator
from datetime import datetime

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from swarm.watch.frame import Frame, Mean, Slot
from swarm.watch.words import (
    duration,
    facts_of,
    node_device,
    node_heard,
    node_memory,
    slot_note,
    state_of,
    waiting_text,
    warning_of,
)

WIDE = 150  # from here on two columns
ROOMY = 100  # from here on the training loss has a column
BAR = 12
FEW_BEST, FEW_EVENTS = 5, 8
NODES_SHOWN = 8
BELOW = 9  # lines that programs and events want at least
STYLES = {
    "kept": "bold green",
    "leading": "green",
    "superseded": "magenta",
    "baseline": "cyan",
    "discarded": "dim",
    "inconclusive": "yellow",
}
NODE_STYLES = {"working": "green", "idle": "dim", "silent": "red", "refused": "red"}
DOING = {"training": "green", "scoring": "green", "waiting": "yellow", "stopped": "red", "crashed": "red"}


def picture(seen: Frame, width: int, height: int | None = None) -> RenderableType:
    """The whole frame. `height`: lines that there are; programs and events give way first."""
    wide = width >= WIDE
    head = _above(seen, width, short=False)
    if height is not None and _lines(head, width) > height - BELOW:
        head = _above(seen, width, short=True)
    best, events = _shares(seen, None if height is None else height - _lines(head, width) - 3, wide=wide)
    programs, log = _programs(seen, best), _events(seen, events)
    if not wide:
        return Group(head, programs, Text(), log)
    both = Table.grid(expand=True, padding=(0, 2))
    both.add_column(ratio=5)
    both.add_column(ratio=6)
    both.add_row(programs, log)
    return Group(head, both)


def _above(seen: Frame, width: int, *, short: bool) -> Group:
    """All but programs and events. `short`: each fact has one line, and an end that does not fit is cut."""
    middle = (*_slots(seen, width), *_queue(seen, short=short), *_nodes(seen, width))
    return Group(*_head(seen), _facts(seen, short=short), *middle, Text())


def _shares(seen: Frame, room: int | None, *, wide: bool) -> tuple[int, int]:
    """How many programs and events are shown."""
    if room is None:
        return min(len(seen.best), 2 * FEW_BEST), min(len(seen.events), FEW_EVENTS)
    if wide:
        return max(1, min(len(seen.best), room)), max(1, min(len(seen.events), room))
    best = max(1, min(len(seen.best), FEW_BEST, room // 2))
    return best, max(1, min(len(seen.events), room - best - 1))


def _lines(part: RenderableType, width: int) -> int:
    """How many lines it takes, by drawing it."""
    scratch = Console(width=width, file=io.StringIO(), color_system=None)
    return len(scratch.render_lines(part, pad=False))


def _head(seen: Frame) -> Iterator[Text]:
    title = Text()
    title.append(seen.study_id, style="bold")
    title.append(f"  {seen.state}", style="green" if seen.state == "running" else "yellow")
    title.append(state_of(seen))
    yield title
    if (warning := warning_of(seen)) is not None:
        yield Text(warning, style="bold red")
    if seen.trouble:
        yield Text(seen.trouble, style="bold red")


def _facts(seen: Frame, *, short: bool) -> Table:
    return _named(facts_of(seen), short=short)


def _named(rows: Iterable[tuple[str, str]], *, short: bool) -> Table:
    """A name and its text, which hangs below itself where it is long."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(no_wrap=short, overflow="ellipsis" if short else "fold")
    for name, text in rows:
        grid.add_row(Text(name), Text(text))
    return grid


def _slots(seen: Frame, width: int) -> Iterator[RenderableType]:
    if not seen.slots:
        return
    yield Text()
    table = _table()
    table.add_column("worker", no_wrap=True, min_width=8)
    table.add_column("doing", no_wrap=True, min_width=9)
    table.add_column("trial", no_wrap=True, min_width=5)
    table.add_column("progress", no_wrap=True, min_width=BAR + 5)
    table.add_column("ends in", no_wrap=True, justify="right", min_width=7)
    if width >= ROOMY:
        table.add_column("loss", no_wrap=True, justify="right", min_width=6)
    table.add_column("change", no_wrap=True, overflow="ellipsis", ratio=1)
    for slot in seen.slots:
        cells = [
            Text(slot.agent_id),
            Text(slot.doing, style=DOING.get(slot.doing, "")),
            Text(slot.trial_id or ""),
            _bar(slot),
            Text("" if slot.ends_in_s is None else duration(slot.ends_in_s)),
            *([Text("" if slot.loss is None else f"{slot.loss:.3g}")] if width >= ROOMY else []),
            Text(slot_note(slot)),
        ]
        table.add_row(*cells)
    yield table


def _bar(slot: Slot) -> Text:
    if slot.progress is None or slot.doing == "waiting":
        return Text()
    full = round(BAR * slot.progress)
    text = Text("█" * full, style="blue")
    text.append("░" * (BAR - full), style="dim")
    text.append(f" {slot.progress:4.0%}", style="default")
    return text


def _queue(seen: Frame, *, short: bool) -> Iterator[RenderableType]:
    if seen.waiting:
        yield Text()
        places = [f"{place}. {waiting_text(one)}" for place, one in enumerate(seen.waiting, 1)]
        yield _named(zip(["queue", *[""] * len(places)], places, strict=False), short=short)


def _nodes(seen: Frame, width: int) -> Iterator[RenderableType]:
    """A line for each; of more than NODES_SHOWN the silent and the refused come first."""
    if not seen.nodes:
        return
    yield Text()
    table = _table()
    table.add_column("node", no_wrap=True, min_width=8)
    table.add_column("doing", no_wrap=True, min_width=7)
    table.add_column("heard", no_wrap=True, justify="right")
    table.add_column("runs", no_wrap=True, min_width=5)
    if width >= ROOMY:
        table.add_column("memory", no_wrap=True)
        table.add_column("cores", no_wrap=True, justify="right")
    table.add_column("device", no_wrap=True, overflow="ellipsis", ratio=1)
    odd_first = sorted(seen.nodes, key=lambda node: node.state not in ("silent", "refused"))
    for node in odd_first[:NODES_SHOWN]:
        wide = (node_memory(node), str(node.cores)) if width >= ROOMY else ()
        runs = ", ".join(node.runs) or "-"
        state = Text(node.state, style=NODE_STYLES[node.state])
        table.add_row(
            Text(node.name), state, Text(node_heard(node)), Text(runs), *map(Text, wide),
            Text(node.refused or node_device(node)),
        )  # fmt: skip
    yield table
    if (more := len(seen.nodes) - NODES_SHOWN) > 0:
        yield Text(f"and {more} more nodes: swarm nodes", style="dim")


def _programs(seen: Frame, count: int) -> RenderableType:
    if not seen.best:
        return Text("No program has a result yet.", style="dim")
    table = _table()
    table.add_column("program", no_wrap=True)
    table.add_column(seen.objective, no_wrap=True, justify="right")
    table.add_column("± 95 %", no_wrap=True, justify="right")
    table.add_column("n", no_wrap=True, justify="right")
    table.add_column("standing", no_wrap=True, min_width=len("inconclusive"))
    table.add_column("change", no_wrap=True, overflow="ellipsis", ratio=1)
    for mean in seen.best[:count]:
        cells = (mean.program, seen.amount(mean.value), _half(seen, mean), str(mean.runs), mean.standing)
        table.add_row(*map(Text, (*cells, mean.description)), style=STYLES.get(mean.standing, ""))
    return table


def _half(seen: Frame, mean: Mean) -> str:
    return "" if mean.high is None else seen.amount(mean.high - mean.value)


def _events(seen: Frame, count: int) -> RenderableType:
    table = _table(header=False)
    table.add_column(no_wrap=True, style="dim")
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    for event in seen.events[-count:] if count else ():
        table.add_row(Text(f"{datetime.fromtimestamp(event.at):%H:%M:%S}"), Text(event.text.strip()))
    return table


def _table(*, header: bool = True) -> Table:
    return Table(box=None, pad_edge=False, header_style="dim", expand=True, show_header=header)
