"""A study as the output of a notebook's cell: HTML that draws itself wherever HTML with scripts is shown. Pure.

Two outputs. The frame, shown once, holds plotly's code and an empty place for each figure. The drawing, replaced at
each change, is a script that draws into these places: zoom survives it, a saved notebook opens with the last state, and
neither needs a network or a notebook's widgets. The script waits for its places, which may come into the page later.
"""

import json
from collections.abc import Sequence
from html import escape

from plotly.offline import get_plotlyjs

from swarm.report.figures import draw
from swarm.report.figures.drawing import Theme
from swarm.report.figures.style import data_label
from swarm.report.summary import summarize
from swarm.study.state import StudyState
from swarm.watch.shown import Shown

_BOX = "background:#fff;color:#1b1e22;padding:2px 12px 8px;font-family:Inter,Helvetica,Arial,sans-serif"
_WARNING = "background:#D55E00;color:#fff;padding:4px 8px;border-radius:4px;display:inline-block"
# A page with require.js (a notebook made into HTML) would take plotly's code for a module without a name.
_LIBRARY = (
    "<script>window.swarmDefine=window.define;window.define=undefined;</script><script>{}</script>"
    "<script>window.define=window.swarmDefine;</script>"
)
_SCRIPT = """<script>(function () {
  const place = %(place)s, head = %(head)s, figures = %(figures)s;
  function attempt(left) {
    const at = document.getElementById(place);
    if (!at || !window.Plotly) { if (left > 0) setTimeout(() => attempt(left - 1), 250); return; }
    at.querySelector(".swarm-head").innerHTML = head;
    for (const [name, figure] of Object.entries(figures)) {
      const box = at.querySelector("[data-figure=" + name + "]");
      box.querySelector("h4").textContent = figure.title;
      box.querySelector("p").textContent = figure.note;
      const plot = box.querySelector("div"), zoom = box.zoom = box.zoom || {};
      for (const [axis, range] of Object.entries(zoom)) {
        if (figure.layout[axis]) Object.assign(figure.layout[axis], {range: range, autorange: false});
      }
      Plotly.react(plot, figure.data, figure.layout, {responsive: true, displaylogo: false});
      if (!box.heard) plot.on("plotly_relayout", (change) => keep(zoom, change));
      box.heard = true;
    }
  }
  function keep(zoom, change) {
    for (const [name, value] of Object.entries(change)) {
      const [axis, part] = name.split(".");
      if (part === "range") zoom[axis] = value;
      if (part === "range[0]") zoom[axis] = [value, change[axis + ".range[1]"]];
      if (part === "autorange") delete zoom[axis];
    }
  }
  attempt(240);
})();</script>"""


def library_html() -> str:
    """Plotly's code, about 5 MB."""
    return _LIBRARY.format(get_plotlyjs())


def frame_html(place: str, shown: Shown, names: Sequence[str]) -> str:
    """With the headline of now, for those who see no scripts."""
    return library_html() + place_html(place, head_html(shown), names)


def place_html(place: str, head: str, names: Sequence[str]) -> str:
    """Room for a headline and figures."""
    boxes = "".join(
        f'<div data-figure="{escape(name)}"><h4 style="margin:12px 0 0"></h4><p style="margin:0;color:#555"></p>'
        '<div style="min-height:320px"></div></div>'
        for name in names
    )
    return f'<div id="{place}" style="{_BOX}"><div class="swarm-head" role="status">{head}</div>{boxes}</div>'


def drawing_html(place: str, shown: Shown, names: Sequence[str], head: str | None = None) -> str:
    """What fills the place. KeyError for a figure that there is not."""
    figures = {name: json.loads(draw(name, shown.study).to_json(Theme.LIGHT)) for name in names}
    head = head_html(shown) if head is None else head
    return _SCRIPT % {"place": _literal(place), "head": _literal(head), "figures": _literal(figures)}


def fault_html(place: str, text: str) -> str:
    """The figures stay as they are."""
    head = f'<p style="{_WARNING}">{escape(text)}</p>'
    return _SCRIPT % {"place": _literal(place), "head": _literal(head), "figures": "{}"}


def head_html(shown: Shown) -> str:
    warning = f'<p style="{_WARNING}">{escape(shown.warning)}</p>' if shown.warning else ""
    return f"{warning}<p>{headline(shown.study) if shown.study is not None else 'No study yet.'}</p>"


def head_text(shown: Shown) -> str:
    """For a terminal, and where neither HTML nor scripts are shown."""
    study = shown.study
    told = f"{study.study_id}: {_facts(study)}" if study is not None else "No study yet."
    return " ".join(filter(None, (shown.warning, told)))


def headline(study: StudyState) -> str:
    """One line of HTML: what runs, how far it is, what the workers build on."""
    return f"<b>{escape(study.study_id)}</b> ({data_label(study)}): {escape(_facts(study))}"


def _facts(study: StudyState) -> str:
    told, incumbent = summarize(study), study.incumbent
    done = told.complete + sum(told.failed.values())
    facts = f"{done} trials done, {told.running} running, {told.kept} kept"
    if incumbent is not None and incumbent.mean is not None:
        facts += f"; incumbent {incumbent.name} at {study.objective.with_unit(study.objective.text(incumbent.mean))}"
    return facts if told.closed is None else f"{facts}; closed: {told.closed}"


def _literal(value: object) -> str:
    """For a script inside of HTML: nothing in it ends the script."""
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c").replace("\u2028", "\\u2028")
