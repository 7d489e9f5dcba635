"""report.html as text: sections first, then the figures and plotly's code, packed, so that it opens without a network.

The first screen is plain HTML and is there before any script has run. What is packed is inflated by the browser.
"""

import base64
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from html import escape
from string import Template

from plotly.offline import get_plotlyjs

from swarm.report.contents import FIGURE_TITLES, PARTS
from swarm.report.evidence import NOTHING, Evidence
from swarm.report.figures import DRAWINGS, Drawing, draw
from swarm.report.figures.drawing import Theme
from swarm.report.figures.tables import FIGURE_TABLES
from swarm.report.markup import facts_html, figure_html, folded, result_html, section_html, warning_html
from swarm.report.page.look import asset, plots_script, style_sheet
from swarm.report.results import Result, headline, results
from swarm.report.section import Section
from swarm.report.words import between
from swarm.study.devices import device_of
from swarm.study.state import StudyState
from swarm.verdict.standing import Standing

_PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>$title</title>
<link rel="icon" href="data:,">
<style>$style</style>
</head>
<body class="report">
<header><h1>$target <span class="id">$study</span></h1><p class="note">$when</p>$warning
<p class="headline">$headline</p></header>
<main>
<section aria-label="At a glance" class="glance">$glance</section>
<section><h2>$found</h2>$results</section>
<section>$history</section>
<section>$ranking</section>
<section><h2>More</h2><div class="more">$tables</div><p class="note">$empty</p></section>
<section><h2>Figures</h2><div class="more">$figures</div></section>
</main>
<footer class="note">$footer</footer>
<noscript><p class="warning">Figures need scripts; the same numbers are in the tables.</p></noscript>
<script type="text/plain" id="figures">$drawings</script>
<script>$script</script>
<script type="text/plain" id="plotly">$plotly</script>
</body>
</html>
""")


def report_html(study: StudyState, evidence: Evidence = NOTHING) -> str:
    """One page: what is kept first; what is long is folded. Under 5 MB for 500 trials, 2 MB of it plotly."""
    drawn = {name: draw(name, study, evidence.edits) for name in DRAWINGS}
    parts = {name: part.build(study, evidence) for name, part in PARTS.items()}
    found = results(study, evidence)
    return _PAGE.substitute(
        title=escape(f"{study.opened.target}: {study.study_id}"),
        target=escape(study.opened.target),
        study=escape(study.study_id),
        when=escape(_when(study)),
        warning=warning_html(study),
        headline=escape(headline(found)),
        glance=facts_html(parts["answers"]),
        found=_found(found),
        results="".join(map(result_html, found)) or '<p class="note">Nothing leads either.</p>',
        history=_figure("history", study, drawn),
        ranking=section_html(parts["ranking"], fold=True),
        tables="".join(_tables(parts)),
        empty=escape(_empty(parts)),
        figures="".join(folded(FIGURE_TITLES[n], _figure(n, study, drawn)) for n in DRAWINGS if n != "history"),
        footer=escape(_footer(study)),
        drawings=packed(json.dumps({name: _themes(drawing) for name, drawing in drawn.items()})),
        plotly=_plotly(),
        style=style_sheet() + asset("report.css"),
        script=plots_script() + asset("report.js"),
    )


def packed(text: str) -> str:
    """Deflated and in base64: what a browser's DecompressionStream takes back."""
    return base64.b64encode(zlib.compress(text.encode(), 6)).decode("ascii")


@cache
def _plotly() -> str:
    return packed(get_plotlyjs())


def _found(found: Sequence[Result]) -> str:
    if not found:
        return "Nothing is kept"
    return "What is kept" if found[0].standing is Standing.KEPT else "Nothing is kept; this leads"


def _when(study: StudyState) -> str:
    opened = study.opened
    ends = [trial.finished.at for trial in study.trials.values() if trial.finished is not None]
    span = between(opened.at, max(ends)) if ends else "no trial has ended"
    state = study.closed.reason if study.closed is not None else "still open"
    return f"{device_of(study)}; {opened.budget.amount:g} {opened.budget.kind} a trial; {span}; {state}"


def _footer(study: StudyState) -> str:
    return f"swarm {study.opened.version or ''} · check the record: swarm verify · make this page: swarm report".strip()


def _tables(parts: Mapping[str, Section]) -> Iterator[str]:
    """Those that have a row and do not stand above, each under its title."""
    for name, section in parts.items():
        if section.rows and name not in ("answers", "ranking"):
            count = len(section.rows) if any(section.columns) else None
            yield folded(section.title, section_html(section, heading=False, fold=True), count)


def _empty(parts: Mapping[str, Section]) -> str:
    """The titles that would fold nothing."""
    titles = [section.title for section in parts.values() if not section.rows]
    return f"Nothing under: {', '.join(titles)}." if titles else ""


def _figure(name: str, study: StudyState, drawn: dict[str, Drawing]) -> str:
    table = section_html(FIGURE_TABLES[name](study), heading=False, fold=False)
    return figure_html(name, note=drawn[name].heading()[1], table=table)


def _themes(drawing: Drawing) -> dict[str, object]:
    return {theme.value: json.loads(drawing.to_json(theme)) for theme in Theme}
