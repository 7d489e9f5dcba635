"""Makes what a round asks for, from a secret: templates and data that no program has seen, and the pages they give.

Sizes are those of private/shape.json. Each template has every kind of tag, and each round every kind of value.
"""

import json
import os
import random
from pathlib import Path

from pages import expected

LETTERS = "abcdefghijklmnopqrstuvwxyz"
ODD = ("<b>", "&", '"', "'", ">", "é", "ß", "{", "}", "%", "  ", "\n")


def word(draw):
    return "".join(draw.choices(LETTERS, k=draw.randint(2, 9)))


def prose(draw, words):
    return " ".join(draw.choice(ODD) if draw.random() < 0.08 else word(draw) for _ in range(words)) + " "


def value(draw, names, filters=("", "", " | upper", " | short", " | raw", " | short | upper")):
    return "{{ " + draw.choice(names) + draw.choice(filters) + " }}"


def template(draw, shape):
    """A head, a list inside a list, alternatives, money and a foot, in a text of its own."""

    def text():
        return prose(draw, shape["words"])

    top = ("customer.name", "customer.city", "note", "customer.missing.name", "title")
    line = ("line.name", "line.kind", "customer.name", "line.nothing")
    parts = [
        text(),
        *(value(draw, top) + text() for _ in range(draw.randint(2, 5))),
        "{# " + word(draw) + " #}",
        "{% if gift %}" + text() + value(draw, top) + "{% else %}" + value(draw, top) + "{% end %}",
        "{% for line in lines %}" + text() + value(draw, line) + " {{ line.cents | money }} ",
        "{% if line.tags %}{{ line.tags | count }}{% for tag in line.tags %}[" + value(draw, ("tag", "note")) + "]",
        "{% end %}{% end %}" + value(draw, line) + "{% end %}",
        "{{ total | money }}" + text() + "{{ line }}",
    ]
    return "".join(parts)


def data(draw, shape, stock):
    lines = [
        {
            "name": draw.choice(stock),
            "kind": draw.choice(stock),
            "cents": draw.randint(-99_999, 99_999_999),
            "tags": draw.choices(stock, k=draw.randint(0, 3)),
        }
        for _ in range(draw.randint(1, shape["lines"]))
    ]
    return {
        **{word(draw) + str(number): number for number in range(shape["fields"])},
        "title": prose(draw, 3),
        "note": draw.choice(stock),
        "gift": draw.random() < 0.5,
        "customer": {"name": draw.choice(stock), "city": draw.choice(stock)},
        "lines": lines,
        "total": sum(line["cents"] for line in lines),
    }


def wanted(draw, shape):
    stock = [prose(draw, draw.randint(1, 10)).strip() for _ in range(shape["stock"])]
    templates = {word(draw) + str(number): template(draw, shape) for number in range(shape["templates"])}
    names = list(templates)
    return {
        "templates": templates,
        "pages": [[draw.choice(names), data(draw, shape, stock)] for _ in range(shape["pages"])],
    }


def main():
    shape = json.loads(Path("private/shape.json").read_text(encoding="utf-8"))
    for number in range(1, int(os.environ["SWARM_ROUNDS"]) + 1):
        asked = wanted(random.Random(f"{os.environ['SWARM_SECRET']} {number}"), shape)
        folder = Path("rounds") / str(number)
        (folder / "inputs").mkdir(parents=True)
        (folder / "inputs" / "wanted.json").write_text(json.dumps(asked), encoding="utf-8")
        pages = [expected(asked["templates"][name], fields) for name, fields in asked["pages"]]
        (folder / "expected.json").write_text(json.dumps(pages), encoding="utf-8")


if __name__ == "__main__":
    main()
