"""What a command leaves is data, what a grader says is read strictly, and one trial of each grade runs whole."""

import json
import os
import struct
import urllib.parse
from pathlib import Path

import pytest
from factories.graded import FIT, GRADE, GRADING, HONEST_MSE, TERMS, files, graded_executor, graded_order, run_graded

from swarm.execution.graded import seen_by_command, seen_by_grader
from swarm.grading.answer import NoScore, read_answer, read_printed
from swarm.grading.arrays import NotInert, floats, read_head
from swarm.grading.config import DeclaredOutput, GradedConfig
from swarm.grading.hiding import hide
from swarm.grading.outputs import take_outputs
from swarm.records import FailReason, TargetTerms


def npy(descr: str, shape: tuple[int, ...], body: bytes) -> bytes:
    head = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape!r}, }}".encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + body


FLOATS = npy("<f8", (3,), struct.pack("<3d", 1, 2, 3))


def test_the_head_of_an_array_is_read_without_numpy() -> None:
    head = read_head(FLOATS)
    assert (head.dtype, head.shape) == ("float64", (3,)) and floats(FLOATS) == [1.0, 2.0, 3.0]
    assert floats(npy(">f8", (2,), struct.pack(">2d", 1, 2))) == [1.0, 2.0]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (npy("|O", (3,), b"cos\nsystem\n(S'true'\ntR."), "no objects"),
        (npy("<f8", (4,), b"\0" * 24), "has 152 bytes"),
        (npy("<f8", (3,), b"\0" * 25), "has 153 bytes"),
        (npy("<f8", (-3,), b""), "its shape is"),
        (b"\x80\x04pickle of anything", "no npy file"),
        (b"\x93NUMPY\x01\x00\xff\xff" + b"x" * 200, "no head"),
        (npy("<f8", (3,), b"").replace(b"'shape': (3,)", b"'shape': exit"), "no head"),
    ],
)
def test_an_array_that_is_none_is_refused(content: bytes, why: str) -> None:
    with pytest.raises(NotInert, match=why):
        read_head(content)


def declared(**fields: object) -> DeclaredOutput:
    values: dict[str, object] = {"name": "a", "type": "json", "dtype": "", "shape": None, "max_bytes": 200, **fields}
    return DeclaredOutput(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("output", "content", "why"),
    [
        (declared(), b"[NaN]", "no number of JSON"),
        (declared(), b"{", "no JSON"),
        (declared(), b" " * 300, "has 300 bytes, limit 200"),
        (declared(type="text"), b"\xff", "no UTF-8"),
        (declared(type="npy", dtype="float32"), FLOATS, "is of float64, declared is float32"),
        (declared(type="npy", shape=(4,)), FLOATS, r"its shape is \(3,\), declared is \(4,\)"),
        (declared(type="npy", shape=(-1, 3)), FLOATS, "its shape is"),
    ],
)
def test_an_output_is_as_it_was_declared_or_not_there(
    tmp_path: Path, output: DeclaredOutput, content: bytes, why: str
) -> None:
    (tmp_path / "outputs").mkdir()
    (tmp_path / "outputs" / "a").write_bytes(content)
    with pytest.raises(NotInert, match=why):
        take_outputs((output,), tmp_path / "outputs", tmp_path / "taken")


def test_what_is_no_plain_file_is_not_opened(tmp_path: Path) -> None:
    source = tmp_path / "outputs"
    source.mkdir()
    (tmp_path / "secret").write_text("[1]")
    for number, make in enumerate((lambda p: p.symlink_to(tmp_path / "secret"), os.mkfifo, Path.mkdir)):
        make(source / "a")
        with pytest.raises(NotInert, match=r"cannot be opened|not a plain file"):
            take_outputs((declared(),), source, tmp_path / f"taken{number}")
        (source / "a").rmdir() if (source / "a").is_dir() and number == 2 else (source / "a").unlink()
    with pytest.raises(NotInert, match="no folder"):
        take_outputs((), tmp_path / "secret", tmp_path / "taken")
    (source / "a").write_text("[1]")
    (source / "undeclared").write_text("x")
    take_outputs((declared(),), source, tmp_path / "good")
    assert [path.name for path in (tmp_path / "good").iterdir()] == ["a"]


GOOD = {"metrics": {"mse": 0.5}, "valid": True, "why": ""}


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("", "no JSON object"),
        ("[1]", 'with "metrics"'),
        ('{"metrics": {"mse": NaN}, "valid": true}', "no JSON object"),
        (json.dumps({**GOOD, "metrics": {"mse": "low"}}), "no number to count with"),
        (json.dumps({**GOOD, "metrics": {"mse": True}}), "no number to count with"),
        (json.dumps({**GOOD, "metrics": {"mse": 10**30}}), "no number to count with"),
        (json.dumps({**GOOD, "valid": 1}), '"valid" must be true or false'),
        (json.dumps({**GOOD, "valid": False, "why": "too short"}), "not valid: too short"),
        (json.dumps({**GOOD, "metrics": {"other": 1}}), "gave no mse; it gave other"),
        (json.dumps({**GOOD, "per_item": "../x"}), "the name of a file"),
        (json.dumps({**GOOD, "per_item": "gone.json"}), "gone.json cannot be opened"),
    ],
)
def test_what_a_grader_says_is_a_number_or_a_reason(tmp_path: Path, said: str, why: str) -> None:
    with pytest.raises(NoScore, match=why):
        read_answer(said, tmp_path, ("mse",))


def test_a_number_for_each_item_is_read_from_json_and_npy(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[1, 2.5]")
    (tmp_path / "b.npy").write_bytes(FLOATS)
    for name, items in (("a.json", (1.0, 2.5)), ("b.npy", (1.0, 2.0, 3.0))):
        assert read_answer(json.dumps({**GOOD, "per_item": name}), tmp_path, ("mse",)).items == items


def test_the_last_printed_number_counts_where_nobody_grades() -> None:
    log = "rmse: 3.0\nMETRIC rmse=1.0\nMETRIC rmse=0.5\nsize = 7\n"
    assert read_printed(log, ("rmse", "size")).metrics == {"rmse": 0.5, "size": 7.0}
    for bad, why in (("nothing", "printed no number 'rmse'"), ("METRIC rmse=1e999", "no number to count with")):
        with pytest.raises(NoScore, match=why):
            read_printed(bad, ("rmse",))


def test_the_command_meets_nothing_private_and_the_grader_nothing_that_was_edited() -> None:
    grading = GRADING.model_copy(update={"test_inputs": "t_in", "test_private": "t_priv"})
    tree = {**files(), "t_in/items.json": b"test", "t_priv/labels.json": b"secret", "outputs/guess.json": b"[]"}
    assert set(seen_by_command(tree, grading, "val")) == {"fit.py", "grading/grade.py", "inputs/items.json"}
    assert seen_by_command(tree, grading, "test")["inputs/items.json"] == b"test"
    terms = TERMS.model_copy(update={"closed": (*TERMS.closed, "t_in", "t_priv")})
    assert set(seen_by_grader(tree, terms, grading, "val")) == {
        "grading/grade.py", "inputs/items.json", "private/labels.json"
    }  # fmt: skip
    assert seen_by_grader(tree, terms, grading, "test")["private/labels.json"] == b"secret"


def test_a_config_goes_through_json_and_back(tmp_path: Path) -> None:
    config = GradedConfig(
        tmp_path, 1, 2.0, "seconds", "cpu", ("a",), ("b",), ("m",), (declared(shape=(1, -1)),), 3.0, True
    )
    assert GradedConfig.from_json(config.to_json()) == config
    with pytest.raises(ValueError, match="KeyError"):
        GradedConfig.from_json("{}")


def test_a_graded_trial_has_the_graders_numbers_its_own_and_one_an_item(tmp_path: Path) -> None:
    outcome = run_graded(tmp_path, graded_order())
    assert outcome.score is not None, outcome
    assert outcome.score.validation_loss == pytest.approx(HONEST_MSE) and outcome.score.rows == 50
    assert set(outcome.score.metrics) == {"mse", "worst", "run.seconds", "run.cpu_seconds", "run.peak_mib"}
    items = graded_executor(tmp_path).losses("t0001")
    assert items is not None and sum(items) / len(items) == pytest.approx(HONEST_MSE)


def test_a_grader_that_breaks_gives_no_number_and_says_why(tmp_path: Path) -> None:
    for text, why in (("raise SystemExit(3)", "exit code 3"), ("print('hello')", "no JSON object")):
        broken = {**files(), "grading/grade.py": text.encode()}
        outcome = run_graded(tmp_path, graded_order(files=broken))
        assert (outcome.reason, outcome.score) == (FailReason.INVALID_OUTPUT, None) and why in outcome.detail
    silent = GRADE.replace('"errors.json"})', "None})")
    terms = TERMS.model_copy(update={"noise": "items"})
    outcome = run_graded(tmp_path, graded_order(files={**files(), "grading/grade.py": silent.encode()}, terms=terms))
    assert outcome.score is None and "per_item" in outcome.detail


def test_a_self_reported_trial_is_flagged_as_one(tmp_path: Path) -> None:
    grading = GRADING.model_copy(update={"grade": (), "outputs": ()})
    terms = TargetTerms(grade="self-reported", editable=("fit.py",))
    outcome = run_graded(tmp_path, graded_order(FIT + "print('METRIC mse=0.25')\n", grading=grading, terms=terms))
    assert outcome.score is not None and outcome.score.validation_loss == 0.25 and "self_reported" in outcome.flags


KEY = "sk-canary-0123456789"
ASKS = """import json, os, sys
key = os.environ["TOY_API_KEY"]
print("the server said: bad key", key, file=sys.stderr)
print(json.dumps({"metrics": {"mse": len(key), "worst": int(os.environ["SWARM_SEED"])}, "valid": True, "why": key,
                  "flags": ["odd_words"]}))
"""


def everything_said(folder: Path) -> str:
    return "".join(path.read_text(errors="replace") for path in folder.rglob("*") if path.is_file())


def test_a_grader_alone_gets_the_variables_it_asks_for_and_no_key_is_written(tmp_path: Path) -> None:
    """The worker has taken the key out of its environment by then."""
    prints_all = FIT + "import os\nprint(dict(os.environ))\n"
    tree = {**files(prints_all), "grading/grade.py": ASKS.encode()}
    grading = GRADING.model_copy(update={"grade": ("python", "grading/grade.py"), "environment": ("TOY_API_KEY",)})
    outcome = run_graded(tmp_path, graded_order(files=tree, grading=grading), secrets={"TOY_API_KEY": KEY, "B": "x"})
    assert outcome.score is not None, outcome
    assert (outcome.score.metrics["mse"], outcome.score.metrics["worst"]) == (len(KEY), 1)
    assert "odd_words" in outcome.flags
    told = everything_said(tmp_path)
    assert KEY not in told and "bad key [redacted]" in told
    refused = {**tree, "grading/grade.py": ASKS.replace('"valid": True', '"valid": False').encode()}
    outcome = run_graded(tmp_path, graded_order(files=refused, grading=grading), secrets={"TOY_API_KEY": KEY})
    assert outcome.score is None and outcome.detail.endswith("not valid: [redacted]")


def test_a_grader_that_cannot_work_now_blames_nobody(tmp_path: Path) -> None:
    away = {**files(), "grading/grade.py": b"import sys\nprint('the server is down', file=sys.stderr)\nsys.exit(75)\n"}
    outcome = run_graded(tmp_path, graded_order(files=away))
    assert (outcome.reason, outcome.score) == (FailReason.ABANDONED, None)
    assert outcome.detail == "the grader cannot grade now. the server is down"


@pytest.mark.parametrize("flags", ["odd", [1], ["Odd"], ["a b"], ["x"] * 9])
def test_a_graders_flags_are_a_few_plain_words(tmp_path: Path, flags: object) -> None:
    with pytest.raises(NoScore, match="flags"):
        read_answer(json.dumps({**GOOD, "flags": flags}), tmp_path, ("mse",))


def test_a_key_is_hidden_in_its_usual_spellings() -> None:
    key = 'a/"key"+\\b'
    said = f"{key} {json.dumps(key)} {urllib.parse.quote(key, safe='')} {key.encode().hex()}"
    assert hide(said, ("TOY_TOKEN", "TOY_URL", "GONE_KEY"), {"TOY_TOKEN": key, "TOY_URL": "http"}) == (
        '[redacted] "[redacted]" [redacted] [redacted]'
    )
    assert hide("http and abc", ("TOY_URL", "TOY_KEY"), {"TOY_URL": "http", "TOY_KEY": "abc"}) == "http and abc"
