"""Fills the generated parts of docs/reference/ from the code that owns the facts.

python docs/make_reference.py            write the pages
python docs/make_reference.py --check    exit code 1 and the names of the pages that are not as the code is

A generated part of a page stands between `<!-- generated: NAME -->` and `<!-- end -->`; NAME is a key of PARTS.
"""

import json
import re
import sys
import textwrap
import types
from collections.abc import Callable, Collection, Iterable, Iterator
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer
from pydantic import BaseModel

from swarm import records
from swarm.cli.app import app
from swarm.cli.examples import EXAMPLES
from swarm.execution.attempt import EXIT_REASONS, NOT_SET_UP
from swarm.harness.errors import HarnessError
from swarm.target.tables import TargetFile
from swarm.trial.contract import ExitCode

PAGES = Path(__file__).parent / "reference"
WIDTH = 118
_PART = re.compile(r"(<!-- generated: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)
_MARKUP = re.compile(r"\[bold\](.*?)\[/\]")
_JSON_NAMES = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null", Path: "path"}


def filled(page: str) -> str:
    """The page with its generated parts as the code is now. KeyError for a part that nobody makes."""
    return _PART.sub(lambda part: f"{part[1]}\n{PARTS[part[2]]()}\n\n{part[3]}", page)


def stale_pages() -> Iterator[Path]:
    for path in sorted(PAGES.glob("*.md")):
        if path.read_text(encoding="utf-8") != filled(path.read_text(encoding="utf-8")):
            yield path


# The command line


def commands() -> str:
    return "\n\n".join(_command_sections("swarm", typer.main.get_command(app)))


def _command_sections(name: str, command: Any) -> Iterator[str]:
    """One section a command, a group before its own commands."""
    lines = [f"## `{name}`", "", _plain(command.help)]
    options = [_parameter(parameter) for parameter in command.params]
    children = getattr(command, "commands", {})
    if not children:
        arguments = "".join(f" {_argument_name(one)}" for one in command.params if one.param_type_name == "argument")
        lines += ["", f"    {name}{arguments}{' [OPTIONS]' if len(options) > arguments.count(' ') else ''}"]
        if words := EXAMPLES.get(name.removeprefix("swarm ")):
            lines += ["", "For example:", "", *(f"    {one}" for one in words.examples)]
    if options:
        lines += ["", *options]
    yield "\n".join(lines)
    for child_name, child in children.items():
        yield from _command_sections(f"{name} {child_name}", child)


def _parameter(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return _item(f"`{_argument_name(parameter)}`", _plain(parameter.help or ""))
    value = "" if parameter.is_flag else f" {parameter.metavar or _value_name(parameter)}"
    first, *others = sorted(parameter.opts, key=len, reverse=True)
    names = ", ".join(f"`{name}`" for name in (f"{first}{value}", *others, *parameter.secondary_opts))
    notes = ["may be given more than once"] if parameter.multiple else []
    if parameter.default not in (None, False, "") and not parameter.required:
        default = f"`{parameter.opts[0]}`" if parameter.is_flag else f"`{parameter.default}`"
        notes.append(f"default {default}")
    return _item(names + (f" ({', '.join(notes)})" if notes else ""), _plain(parameter.help or ""))


def _argument_name(parameter: Any) -> str:
    name = parameter.metavar or parameter.name.upper()
    return name if parameter.required else f"[{name}]"


def _value_name(parameter: Any) -> str:
    return {int: "N", float: "X", str: "TEXT", Path: "PATH"}[parameter.type_descriptor.annotation]


def _plain(help_text: str) -> str:
    paragraphs = _MARKUP.sub(r"`\1`", help_text).split("\n\n")
    return "\n\n".join(textwrap.fill(" ".join(paragraph.split()), WIDTH) for paragraph in paragraphs)


# Records and tables


def record_kinds() -> str:
    envelope = set(records.Record.model_fields)
    return "\n\n".join(_model_section(f"`{kind}`", model, skip=envelope) for kind, model in records.KNOWN_KINDS.items())


def record_values() -> str:
    """The objects that stand inside records, in the order in which the records name them."""
    return "\n\n".join(_model_section(model.__name__, model) for model in _values_in(records.KNOWN_KINDS.values()))


def _values_in(models: Iterable[type[BaseModel]]) -> list[type[BaseModel]]:
    found: dict[type[BaseModel], None] = {}
    for model in models:
        for field in model.model_fields.values():
            for inner in _models_in(field.annotation):
                found[inner] = None
                found.update(dict.fromkeys(_values_in([inner])))
    return list(found)


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)


def target_keys() -> str:
    return "\n".join(_target_items("", TargetFile))


def _target_items(prefix: str, model: type[BaseModel]) -> Iterator[str]:
    shown: set[type[BaseModel]] = set()
    for name, field in model.model_fields.items():
        inner = next(_models_in(field.annotation), None)
        if inner is None:
            yield _field(f"{prefix}{name}", field)
        elif inner not in shown:
            same = [other for other, its in model.model_fields.items() if inner in _models_in(its.annotation)]
            heads = ", ".join(f"`{prefix}{other}`" for other in same)
            yield _item(heads, "required table" if field.is_required() else "table, may be left out")
            yield from _target_items(f"{prefix}{'*' if len(same) > 1 else name}.", inner)
            shown.add(inner)


def _model_section(title: str, model: type[BaseModel], skip: Collection[str] = ()) -> str:
    says = _own_docstring(model)
    items = [_field(name, field) for name, field in model.model_fields.items() if name not in skip]
    return "\n\n".join(filter(None, (f"### {title}", says, "\n".join(items))))


def _field(name: str, field: Any) -> str:
    default = "" if field.is_required() else _default(field.get_default(call_default_factory=True))
    return _item(f"`{name}`", "; ".join(filter(None, (f"{_type(field.annotation)}{default}", field.description))))


def _default(value: object) -> str:
    """Nothing for null, which its type says already."""
    if isinstance(value, BaseModel):
        value = value.model_dump()
    return "" if value is None else f", default `{json.dumps(value)}`"


def _type(annotation: Any) -> str:
    """The JSON type, in words."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type(arguments[0])
    if origin is Literal or (isinstance(annotation, type) and issubclass(annotation, Enum)):
        return " or ".join(f"`{getattr(value, 'value', value)}`" for value in arguments or annotation)
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(_type(argument) for argument in arguments))
    if origin is tuple:
        inner = [_type(argument) for argument in arguments if argument is not ...]
        return f"list of {_plural(inner[0])}" if len(inner) == 1 else f"[{', '.join(inner)}]"
    if origin is dict:
        return f"object of {_plural(_type(arguments[1]))}"
    return _JSON_NAMES.get(annotation) or str(annotation.__name__)


def _plural(name: str) -> str:
    return f"{name}s" if name.isalpha() else name


# Exit codes


def phase_exit_codes() -> str:
    """Each code with what it means to the phase and what becomes of it in the trial's record."""
    meanings = {error.exit_code: _own_docstring(error) for error in HarnessError.__subclasses__()}
    meanings |= {
        ExitCode.OK: "The phase did its work.",
        ExitCode.CRASHED: "The program raised an error; its traceback is in the log.",
        ExitCode.SETUP_FAILED: "The limits or the sandbox of the phase could not be applied.",
    }
    return "\n".join(_item(f"`{code}`", f"{meanings[code]} {_recorded(code)}") for code in ExitCode)


def _recorded(code: ExitCode) -> str:
    if code is ExitCode.OK:
        return ""
    if code in NOT_SET_UP:
        return "Before the candidate's code began: a failed set-up, and the trial has no ending yet. After: `crashed`."
    return f"Recorded as `{EXIT_REASONS.get(code, records.FailReason.CRASHED)}`."


def _own_docstring(owner: type) -> str:
    """Without what a class inherits, and without the line breaks of the source."""
    return textwrap.fill(" ".join((owner.__dict__.get("__doc__") or "").split()), WIDTH)


def _item(head: str, text: str) -> str:
    text = " ".join(text.split())
    return textwrap.fill(f"- {head}: {text}" if text else f"- {head}", WIDTH, subsequent_indent="  ")


PARTS: dict[str, Callable[[], str]] = {
    "commands": commands,
    "record-kinds": record_kinds,
    "record-values": record_values,
    "target": target_keys,
    "phase-exit-codes": phase_exit_codes,
}


def main(arguments: list[str]) -> int:
    stale = list(stale_pages())
    for path in stale:
        print(path)
        if "--check" not in arguments:
            path.write_text(filled(path.read_text(encoding="utf-8")), encoding="utf-8")
    return 1 if stale and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
