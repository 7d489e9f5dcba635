"""`.swarm/`, where everything of a study lies but its brain."""

from pathlib import Path

from swarm.study.settings import Layout


def make_runtime(layout: Layout) -> Path:
    """The folder, which ignores itself: the person's `git status` and .gitignore stay as they are."""
    layout.runtime.mkdir(parents=True, exist_ok=True)
    ignore = layout.runtime / ".gitignore"
    if not ignore.exists() or not ignore.stat().st_size:  # a full disk left it empty
        ignore.write_text("*\n", encoding="utf-8")
    return layout.runtime
