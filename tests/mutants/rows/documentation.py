"""The documentation says what the code does."""

from mutants.safeguard import Edit, Safeguard

ROWS = (
    Safeguard(
        "links-lead-somewhere",
        "every link, path and test that a page names exists",
        Edit(
            "tests/docs/test_links.py",
            "        file = (page.parent / name).resolve() if name else page\n",
            "        file = page\n",
        ),
        ("docs/test_links.py::test_these_checks_find_what_they_look_for",),
    ),
    Safeguard(
        "reference-is-fresh",
        "every command, option, setting and exit code is in the reference",
        Edit("swarm/cli/flags.py", 'Option("--json", ', 'Option("--json", "--never-written-down", '),
        ("docs/test_reference.py",),
    ),
)
