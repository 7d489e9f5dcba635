"""What a trial runs: reads the pages that are wanted, lets render.py make them, and writes them down.

Nobody edits it, and all that it takes is on the clock, from the import on.
"""

import json

from render import Renderer

with open("inputs/wanted.json", encoding="utf-8") as file:  # noqa: PTH123 - to import pathlib costs more than a page
    wanted = json.load(file)
renderer = Renderer(wanted["templates"])
pages = [renderer.page(name, data) for name, data in wanted["pages"]]
with open("outputs/pages.json", "w", encoding="utf-8") as file:  # noqa: PTH123
    json.dump(pages, file)
