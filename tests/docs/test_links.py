"""What the prose points at exists: files behind links, headings behind anchors, paths of code, and named tests."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])

PARTS = ("swarm", "workers", "models", "benchmarks", "notebooks", "tests")

_PAGE = re.compile(r"\bdocs/[\w/-]+\.md")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_CODE_PATH = re.compile(r"(?<![\w./-])(?:swarm|workers|models|tests|benchmarks|notebooks|docs)/[\w./*-]*\w(?:\.\w+)?/?")
_PLACEHOLDER = re.compile(r"/[A-Z]+(/|$)")  # as in models/NAME
_MODULE = re.compile(r"python -m ((?:swarm|workers)[\w.]*)")
_TEST = re.compile(r"`(test_\w+\.py)(?:::(\w+))?(?:::(\w+))?`")
_MARK = re.compile(r"pytest\.mark\.(\w+)")
_FENCE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_and_paths_lead_somewhere(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert [*broken_links(path, text), *missing_paths(text)] == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_prose_is_wrapped(path: Path) -> None:
    prose = _FENCE.sub("", path.read_text(encoding="utf-8")).splitlines()
    assert [line for line in prose if len(line) > 120 and not line.startswith(("|", "    "))] == []


def test_named_tests_exist() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}: {problem}" for path in PAGES for problem in unknown_tests(path.read_text("utf-8"))
    ]
    assert wrong == []


def test_pages_that_the_code_names_exist() -> None:
    sources = [path for part in PARTS for path in (ROOT / part).rglob("*") if path.suffix in {".py", ".ipynb", ".toml"}]
    named = {(path, page) for path in sources for page in _PAGE.findall(path.read_text(encoding="utf-8"))}
    assert [f"{path}: {page}" for path, page in named if not (ROOT / page).exists() and path != Path(__file__)] == []


def promises() -> list[str]:
    return re.split(r"^- ", (ROOT / "docs/promises.md").read_text("utf-8"), flags=re.MULTILINE)[1:]


def test_each_promise_names_a_test() -> None:
    assert len(promises()) > 35
    assert [promise for promise in promises() if not _TEST.search(promise)] == []


def test_promises_say_which_tests_are_not_among_the_default_ones() -> None:
    silent = [
        f"{file}::{name} is marked {mark}"
        for promise in promises()
        for file, name, _ in _TEST.findall(promise)
        for mark in marks(file, name) & {"slow", "chaos", "redteam", "gpu"}
        if f"{mark})" not in promise
    ]
    assert silent == []


def marks(file: str, name: str) -> set[str]:
    """Of one test, or of all of a file's tests where no name is given."""
    (path,) = (ROOT / "tests").rglob(file)
    tree = ast.parse(path.read_text(encoding="utf-8"))
    module = {mark for node in tree.body if isinstance(node, ast.Assign) for mark in _MARK.findall(ast.unparse(node))}
    tests = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name]
    return module.union(*(_MARK.findall(ast.unparse(decorator)) for node in tests for decorator in node.decorator_list))


def broken_links(page: Path, text: str) -> Iterator[str]:
    for target in _LINK.findall(_FENCE.sub("", text)):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        if not file.exists():
            yield f"link to {target}: no such file"
        elif anchor and anchor not in anchors(file.read_text(encoding="utf-8")):
            yield f"link to {target}: no such heading"


def anchors(text: str) -> set[str]:
    """As GitHub makes them from headings."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}


def missing_paths(text: str) -> Iterator[str]:
    for name in _CODE_PATH.findall(text):
        if not _PLACEHOLDER.search(name) and not any(ROOT.glob(name.rstrip("/"))):
            yield f"path {name}: there is none"
    for module in _MODULE.findall(text):
        place = ROOT / module.replace(".", "/")
        if not place.with_suffix(".py").exists() and not (place / "__main__.py").exists():
            yield f"module {module}: there is none"


def unknown_tests(text: str) -> Iterator[str]:
    for file, *names in _TEST.findall(text):
        found = list((ROOT / "tests").rglob(file))
        if len(found) != 1:
            yield f"{file}: {len(found)} files of this name"
            continue
        defined = set(re.findall(r"^\s*(?:def|class) (\w+)", found[0].read_text(encoding="utf-8"), re.MULTILINE))
        yield from (f"{file}::{name}: there is none" for name in names if name and name not in defined)


def test_these_checks_find_what_they_look_for() -> None:
    page = ROOT / "README.md"
    assert list(broken_links(page, "[a](docs/none.md) [b](README.md#none) [c](https://x.org) [d](LICENSE)")) == [
        "link to docs/none.md: no such file",
        "link to README.md#none: no such heading",
    ]
    assert list(missing_paths("`swarm/none.py`, `models/*/train.py`, `.swarm/studies/x`, `python -m swarm.none`")) == [
        "path swarm/none.py: there is none",
        "module swarm.none: there is none",
    ]
    assert list(unknown_tests("`test_links.py::test_none` `test_none.py` `test_links.py::test_named_tests_exist`")) == [
        "test_links.py::test_none: there is none",
        "test_none.py: 0 files of this name",
    ]
