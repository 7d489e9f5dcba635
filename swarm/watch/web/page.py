"""The page as HTML. Pure: a Frame and a study in, text out. All that comes from outside is quoted here."""

from collections.abc import Mapping
from html import escape
from string import Template

from swarm.report.contents import FIGURE_TITLES, PARTS
from swarm.report.evidence import NOTHING, Evidence
from swarm.report.markup import result_html, section_html
from swarm.report.results import results
from swarm.study.options import UNLIMITED
from swarm.study.state import StudyState
from swarm.study.steering import KNOWN_FAMILIES
from swarm.watch.frame import Frame, Mean, Node, Slot
from swarm.watch.words import (
    clock_time,
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

OPEN_FIGURES = ("history", "timeline")
RESULTS = "results"
TABLES: Mapping[str, str] = {RESULTS: "Results, with their changes", **{name: one.title for name, one in PARTS.items()}}
"""What is folded, by name: the parts of the report, in its order."""

_PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>$title</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="page.css?token=$token">
<script src="page.js?token=$token" defer></script>
</head>
<body>
<header id="head">$head</header>
<p id="link" role="status" hidden></p>
<main>
<section id="facts" aria-label="The study">$facts</section>
<section id="slots" aria-label="Workers">$slots</section>
<section id="programs" aria-label="Best programs">$programs</section>
$figures
<section id="events" aria-label="Last events">$events</section>
$more
<section id="steer" aria-label="Steer">$steer</section>
</main>
</body>
</html>
""")


def page(seen: Frame, token: str, *, may_steer: bool) -> str:
    """The first answer: everything but figures and long tables is in it already."""
    figures = "".join(_figure(name) for name in OPEN_FIGURES)
    more = "".join(_folded("table", name, title) for name, title in TABLES.items())
    more += "".join(_folded("figure", name, t) for name, t in FIGURE_TITLES.items() if name not in OPEN_FIGURES)
    parts = sections(seen)
    return _PAGE.substitute(
        title=escape(f"{seen.study_id} · swarm"),
        token=escape(token),
        figures=figures,
        more=f'<section id="more"><h2>More</h2>{more}</section>',
        steer=steering(seen, may_steer=may_steer),
        **parts,
    )


def sections(seen: Frame) -> dict[str, str]:
    """What changes while one looks, by the id of its place."""
    return {
        "head": _head(seen),
        "facts": _facts(seen),
        "slots": _slots(seen) + _queue(seen) + _nodes(seen),
        "programs": _programs(seen),
        "events": _events(seen),
    }


def table(name: str, study: StudyState, evidence: Evidence = NOTHING) -> str:
    """A part of the report. KeyError when there is none of this name."""
    if name == RESULTS:
        return "".join(map(result_html, results(study, evidence))) or '<p class="note">Nothing leads yet.</p>'
    return section_html(PARTS[name].build(study, evidence), heading=False, fold=True)


def steering(seen: Frame, *, may_steer: bool) -> str:
    """The buttons, or why there are none."""
    if not may_steer:
        return '<h2>Steer</h2><p class="note">This is a copy of a brain: steer the study where it runs.</p>'
    families = "".join(f"<option>{escape(family)}</option>" for family in KNOWN_FAMILIES)
    programs = "".join(f"<option>{escape(mean.program)}</option>" for mean in seen.best)
    trials = seen.counts.wanted if seen.counts.wanted is not None else UNLIMITED
    return f"""<h2>Steer</h2>
<form data-actions="note"><label>Tell the models <input name="text" maxlength="300" autocomplete="off"></label>
<button value="note">Send</button></form>
<form data-actions="family"><label>Family <select name="subject">{families}</select></label>
<label>Why <input name="text" maxlength="300" autocomplete="off"></label>
<button value="veto">Veto</button><button value="allow">Lift the veto</button>
<button value="boost">Boost</button></form>
<form data-actions="pin"><label>Program <select name="subject">{programs}</select></label>
<button value="pin">Pin</button></form>
<form data-actions="limit"><label>Trials in all <input name="subject" inputmode="numeric" autocomplete="off"
placeholder="{trials}"></label><button value="trials">Set</button></form>
<form data-actions="limit"><label>Ends in hours <input name="subject" inputmode="decimal" autocomplete="off"
placeholder="8"></label><button value="hours">Set</button></form>
<form data-actions="stop"><button value="drain" class="grave">Stop when running trials are done</button>
<button value="now" class="grave">Stop now</button></form>
<p class="note">A veto is enforced, and so are trials and hours, also <code>unlimited</code>. Boost, pin and a note are
hints that language models read.</p>
<p id="said" role="status" aria-live="polite"></p>"""


def _figure(name: str) -> str:
    title = FIGURE_TITLES[name]
    return (
        f'<section class="figure" data-figure="{name}"><h2>{title}</h2><p class="note"></p>'
        f'<div class="plot" role="group" aria-label="{title}: the same numbers are in the tables below"></div>'
        "</section>"
    )


def _folded(kind: str, name: str, title: str) -> str:
    inside = '<p class="note"></p><div class="plot"></div>' if kind == "figure" else '<div class="table"></div>'
    return f'<details data-{kind}="{name}"><summary>{title}</summary>{inside}</details>'


def _head(seen: Frame) -> str:
    warnings = "".join(
        f'<p class="warning">{escape(text)}</p>' for text in (warning_of(seen), seen.trouble) if text is not None
    )
    return (
        f'<h1>{escape(seen.target)} <span class="id">{escape(seen.study_id)}</span></h1>'
        f'<p class="state {escape(seen.state)}">{escape(seen.state)}{escape(state_of(seen))}</p>{warnings}'
    )


def _facts(seen: Frame) -> str:
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in facts_of(seen))
    return f"<dl>{rows}</dl>"


def _slots(seen: Frame) -> str:
    if not seen.slots:
        return ""
    return f"<h2>Workers</h2><ul class='slots'>{''.join(map(_slot, seen.slots))}</ul>"


def _slot(slot: Slot) -> str:
    head = f"<b>{escape(slot.agent_id)}</b> <span class='doing {escape(slot.doing)}'>{escape(slot.doing)}</span>"
    head += f" {escape(slot.trial_id)}" if slot.trial_id else ""
    bar = ""
    if slot.progress is not None and slot.doing != "waiting":
        left = f", {duration(slot.ends_in_s)} left" if slot.ends_in_s is not None else ""
        loss = f", loss {slot.loss:.3g}" if slot.loss is not None else ""
        share = f"{slot.progress:.0%}"
        bar = (
            f"<progress max='1' value='{slot.progress:.3f}' aria-label='{escape(slot.agent_id)}'>{share}</progress>"
            f"<span class='left'>{share}{left}{loss}</span>"
        )
    return f"<li><p>{head}</p>{bar}<p class='what'>{escape(slot_note(slot))}</p></li>"


def _queue(seen: Frame) -> str:
    if not seen.waiting:
        return ""
    rows = "".join(f"<li>{escape(waiting_text(one))}</li>" for one in seen.waiting)
    return f"<h2>Queue</h2><ol class='queue'>{rows}</ol>"


def _nodes(seen: Frame) -> str:
    if not seen.nodes:
        return ""
    head = "".join(
        f"<th scope='col'>{name}</th>" for name in ("node", "doing", "heard", "runs", "device", "memory", "cores")
    )
    return (
        "<h2>Nodes</h2><div class='scroll' tabindex='0' role='group' aria-label='Nodes'>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(map(_node, seen.nodes))}</tbody></table></div>"
    )


def _node(node: Node) -> str:
    state = escape(node.state)
    cells = (
        *(escape(node.name), f"<span class='node {state}'>{state}</span>", node_heard(node)),
        *(escape(", ".join(node.runs)) or "-", escape(node.refused or node_device(node)), node_memory(node)),
        str(node.cores),
    )
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _programs(seen: Frame) -> str:
    if not seen.best:
        return "<h2>Programs</h2><p class='note'>No program has a result yet.</p>"
    rows = "".join(_program(seen, mean) for mean in seen.best)
    head = "".join(
        f"<th scope='col'>{escape(name)}</th>" for name in ("program", seen.objective, "n", "standing", "change")
    )
    return (
        "<h2>Programs</h2><div class='scroll' tabindex='0' role='group' aria-label='Programs'>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _program(seen: Frame, mean: Mean) -> str:
    half = "" if mean.high is None else f" <small>± {seen.amount(mean.high - mean.value)}</small>"
    word = escape(mean.standing)
    cells = (
        f"<td>{escape(mean.program)}</td>",
        f"<td class='number'>{seen.amount(mean.value)}{half}</td>",
        f"<td>{mean.runs}</td>",
        f"<td class='{word}'>{word}</td>",
        f"<td class='change'>{escape(mean.description)}</td>",
    )
    return f"<tr>{''.join(cells)}</tr>"


def _events(seen: Frame) -> str:
    rows = "".join(
        f"<li><time>{clock_time(event.at)}</time> {escape(event.text.strip())}</li>"
        for event in reversed(seen.events[-20:])
    )
    return f"<h2>Last events</h2><ul class='log'>{rows}</ul>"
