"""The page as text, and who may have it. Values in, values out."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from factories.frames import HOSTILE, frame, mean, slot
from factories.studies import FakeStudy, demo_study

from swarm.watch.frame import Happened
from swarm.watch.web.guard import HEADERS, refusal
from swarm.watch.web.page import TABLES, page, sections, table

TOKEN = "right-token"
OURS = {"host": "127.0.0.1:8477"}
RIGHT = {"token": TOKEN}


class Markup(HTMLParser):
    """All tags and attributes of a text, and its words."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.words += data


def hostile_page() -> str:
    hostile = frame(
        study_id=HOSTILE, target=HOSTILE, device=HOSTILE, state="ended", why=HOSTILE, objective=HOSTILE, unit=HOSTILE,
        trouble=HOSTILE, vetoed=(HOSTILE,), best=(mean(HOSTILE, 2.0, HOSTILE, description=HOSTILE),), data=HOSTILE,
        slots=(slot(HOSTILE, HOSTILE, trial_id=HOSTILE, description=HOSTILE),), events=(Happened(1.0, HOSTILE),),
    )  # fmt: skip
    return page(hostile, TOKEN, may_steer=True)


def test_whatever_stands_in_a_record_is_text_on_the_page() -> None:
    found = Markup(hostile_page())
    assert "img" not in found.tags and found.tags.count("script") == 1
    assert not [name for name, _ in found.attributes if name.startswith("on")]
    assert found.words.count("<img src=x onerror=alert(1)>") > 10


def test_a_page_asks_for_nothing_from_elsewhere() -> None:
    addresses = [value for name, value in Markup(hostile_page()).attributes if name in ("src", "href", "action")]
    assert addresses and all(value == "data:," or re.fullmatch(rf"page\.(js|css)\?token={TOKEN}", value or "")
                             for value in addresses)  # fmt: skip
    assert "'unsafe-inline'" not in HEADERS["Content-Security-Policy"].partition("script-src")[2].partition(";")[0]


def test_the_tables_are_those_of_the_report_and_quote_too() -> None:
    fake = demo_study()
    for name in TABLES:
        found = Markup(table(name, fake.study))
        assert "b" not in found.tags, "descriptions of the demo hold <b>"
    assert "<b>zero</b>" in Markup(table("ranking", fake.study)).words
    assert "No program has a result yet." in table("ranking", FakeStudy().study)


def test_only_what_has_changed_is_another_text() -> None:
    before, after = sections(frame()), sections(frame(slots=(slot(progress=0.64),), waiting=()))
    assert {name for name in before if before[name] != after[name]} == {"slots"}


def test_a_copy_has_no_buttons() -> None:
    assert "button" not in Markup(page(frame(), TOKEN, may_steer=False)).tags
    assert Markup(page(frame(), TOKEN, may_steer=True)).tags.count("button") == 9


def test_the_fields_for_the_limits_show_what_the_study_has() -> None:
    counts = frame().counts
    for wanted, shown in ((60, "60"), (None, "unlimited")):
        text = page(frame(counts=replace(counts, wanted=wanted)), TOKEN, may_steer=True)
        assert f'placeholder="{shown}"' in text


@pytest.mark.parametrize(
    ("method", "headers", "query", "why"),
    [
        ("GET", OURS, RIGHT, None),
        ("GET", {"host": "localhost:1"}, RIGHT, None),
        ("GET", OURS, {}, "token"),
        ("GET", OURS, {"token": "right-tokem"}, "token"),
        ("GET", OURS, {"token": "\xe9\u20ac"}, "token"),
        ("GET", {"host": "evil.example:8477"}, RIGHT, "127.0.0.1"),
        ("GET", {"host": "127.0.0.1.evil.example"}, RIGHT, "127.0.0.1"),
        ("GET", {"host": "[::1"}, RIGHT, "127.0.0.1"),
        ("GET", {}, RIGHT, "127.0.0.1"),
        ("PUT", OURS, RIGHT, "in this way"),
        ("POST", {**OURS, "x-swarm-token": TOKEN}, {}, None),
        ("POST", {**OURS, "x-swarm-token": TOKEN, "origin": "http://127.0.0.1:8477"}, {}, None),
        ("POST", OURS, RIGHT, "token"),
        ("POST", {**OURS, "x-swarm-token": TOKEN, "origin": "http://evil.example"}, {}, "another site"),
        ("POST", {**OURS, "x-swarm-token": TOKEN, "origin": "null"}, {}, "another site"),
        ("POST", {**OURS, "x-swarm-token": TOKEN, "origin": "http://127.0.0.1:9999"}, {}, "another site"),
    ],
)
def test_who_may_pass(method: str, headers: dict[str, str], query: dict[str, str], why: str | None) -> None:
    said = refusal(TOKEN, method, headers, query)
    assert said is None if why is None else said is not None and why in said
    assert TOKEN not in (said or "")
