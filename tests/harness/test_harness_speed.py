"""What makes a step fast and must cost nothing else: the compiler, the search for algorithms, captured steps."""

import copy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from swarm.harness import libraries
from swarm.harness import session as sessions
from swarm.harness.compiling import Compiled, compiled
from swarm.harness.loop import forward
from swarm.harness.probe_phase import ProbeSession
from swarm.harness.session import Session, _device
from swarm.harness.warmup import WARM_UP_STEPS, put_back, warm_up
from swarm.trial.config import TrialConfig, WorkBudget


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def network() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(3, 4, 3, 4), nn.BatchNorm2d(4), nn.Flatten(), nn.Dropout(0.5), nn.Linear(256, 10))


def images(count: int = 4) -> Tensor:
    return torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(2))


class TestCompiler:
    def test_what_compiles_is_called_and_leaves_no_trace_of_the_trial(self) -> None:
        model, notes, calls = network(), [], []

        def compiler(module: nn.Module):
            return lambda x: (calls.append(len(x)), module(x))[1]

        plain = copy.deepcopy(model)
        torch.manual_seed(3)
        expected = plain(images())
        torch.manual_seed(3)
        found = Compiled(model, notes.append, compiler)(images())
        assert torch.equal(found, expected)
        assert all(torch.equal(a, b) for a, b in zip(plain.buffers(), model.buffers(), strict=True))
        assert all(parameter.grad is None for parameter in model.parameters())
        assert calls == [4, 4] and len(notes) == 1 and notes[0].startswith("compiled in ")

    @pytest.mark.parametrize("where", ["start", "forward", "backward"])
    def test_what_does_not_compile_trains_as_it_is_and_says_why(self, where: str) -> None:
        class FailsBackward(torch.autograd.Function):
            @staticmethod
            def forward(_: object, x: Tensor) -> Tensor:
                return x.clone()

            @staticmethod
            def backward(_: object, gradient: Tensor) -> Tensor:
                raise RuntimeError("no kernel for this\nand a long trace")

        def compiler(module: nn.Module):
            if where == "start":
                raise OSError("no compiler here")
            if where == "forward":
                return lambda x: (_ for _ in ()).throw(torch._dynamo.exc.Unsupported("no graph of this"))
            return lambda x: FailsBackward.apply(module(x))

        model, notes = network(), []
        function = Compiled(model, notes.append, compiler)
        loss = F.cross_entropy(function(images()), torch.zeros(4, dtype=torch.int64))
        loss.backward()
        assert function(images()).shape == (4, 10)
        assert len(notes) == 1 and notes[0].startswith("not compiled: ") and "\n" not in notes[0]

    def test_a_later_shape_that_does_not_compile_ends_nothing(self) -> None:
        def compiler(module: nn.Module):
            def call(x: Tensor) -> Tensor:
                if len(x) != 4:
                    raise torch._dynamo.exc.Unsupported("another shape")
                return module(x)

            return call

        notes: list[str] = []
        function = Compiled(network(), notes.append, compiler)
        function(images(4))
        assert function(images(6)).shape == (6, 10)
        assert notes[-1] == "not compiled: Unsupported: another shape"

    @pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError()])
    def test_a_lack_of_memory_is_no_failure_of_the_compiler(self, error: Exception) -> None:
        def compiler(module: nn.Module):
            raise error

        with pytest.raises(type(error)):
            Compiled(network(), lambda _: None, compiler)(images())

    def test_a_cpu_trains_the_model_itself(self) -> None:
        model = network()
        assert compiled(model) is model

    def test_on_a_gpu_the_record_says_what_came_of_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        session = trial_with("solo_seconds", 300)
        monkeypatch.setattr(sessions, "current_if_any", lambda: session)
        assert isinstance(compiled(network()), Compiled)

    def test_dynamo_itself_is_behind_it(self) -> None:
        """The compiler that finds a graph and runs it as it is: no C++ compiler is needed for that."""
        notes: list[str] = []
        function = Compiled(network(), notes.append, lambda module: torch.compile(module, backend="eager"))
        assert function(images()).shape == (4, 10)
        assert notes[0].startswith("compiled in")


def trial_with(kind: str, amount: float, device: str = "cuda", of: type[Session] = Session) -> Session:
    session = object.__new__(of)
    session.device = torch.device(device)
    session.config = SimpleNamespace(budget=WorkBudget(kind, amount))
    session.compilation = None
    return session


class TestBudgetTooShortToCompile:
    @pytest.mark.parametrize(
        ("session", "reason"),
        [
            (trial_with("solo_seconds", 119), "it pays from a budget of 120 s on, this one has 119 s"),
            (trial_with("seconds", 8), "this one has 8 s"),
            (trial_with("solo_seconds", 120), ""),
            (trial_with("samples", 8), ""),
            (trial_with("solo_seconds", 8, "cpu"), ""),
            (trial_with("samples", 3, of=ProbeSession), "a probe is three steps"),
            (trial_with("samples", 3, "cpu", of=ProbeSession), ""),
        ],
    )
    def test_a_short_budget_is_trained_and_not_compiled(self, session: Session, reason: str) -> None:
        assert reason in session.why_uncompiled() and bool(reason) == bool(session.why_uncompiled())

    def test_the_program_gets_its_model_and_the_record_the_reason(self, monkeypatch: pytest.MonkeyPatch) -> None:
        session, model = trial_with("solo_seconds", 8), network()
        monkeypatch.setattr(sessions, "current_if_any", lambda: session)
        assert compiled(model) is model
        assert session.compilation == "not compiled: it pays from a budget of 120 s on, this one has 8 s"


class Watching(nn.Module):
    """Remembers how it was evaluated."""

    def __init__(self) -> None:
        super().__init__()
        self.searched: list[bool] = []

    def forward(self, x: Tensor) -> Tensor:
        self.searched.append(torch.backends.cudnn.benchmark)
        return x.mean(dim=(1, 2, 3))[:, None]


class TestEvaluation:
    def test_no_algorithms_are_tried_in_an_evaluation(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
        model = Watching()
        forward(model, torch.zeros(6, 3, 8, 8, dtype=torch.uint8), 3)
        assert model.searched == [False, False]
        assert torch.backends.cudnn.benchmark is True

    def test_an_evaluation_compiles_nothing(self) -> None:
        graphs = []

        def backend(graph: torch.fx.GraphModule, _: object):
            graphs.append(graph)
            return graph.forward

        model = torch.compile(nn.Sequential(nn.Flatten(), nn.Linear(192, 10)), backend=backend)
        model(torch.zeros(2, 3, 8, 8))
        forward(model, torch.zeros(6, 3, 8, 8, dtype=torch.uint8), 3)
        assert len(graphs) == 1


def cuda_trial(folder: Path) -> TrialConfig:
    return TrialConfig("t1", "s", 1, "cuda", 1, folder, folder, WorkBudget("samples", 10), "train.py")


def test_cudnn_tries_no_algorithms_unless_the_program_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    _device(cuda_trial(tmp_path))
    assert torch.backends.cudnn.benchmark is False


@pytest.mark.parametrize(("kind", "loads"), [("cuda", 1), ("cpu", 0)])
def test_libraries_are_loaded_before_the_candidate_is_on_the_clock(
    kind: str, loads: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    monkeypatch.setattr(libraries, "_step", lambda *_: order.append("libraries"))
    monkeypatch.setattr(libraries, "forget_peaks", lambda _: order.append("peaks forgotten"))
    monkeypatch.setattr(sessions, "candidate_begins", lambda: order.append("candidate"))
    session = object.__new__(Session)
    session.overhead_s, session.device = {}, torch.device(kind)
    session._train_set = SimpleNamespace()
    session._meter = SimpleNamespace(begin=lambda: order.append("clock"))
    session.begin()
    steps = 2 * len(libraries.GROUPS)
    assert order == ["libraries"] * steps * loads + ["peaks forgotten"] * loads + ["candidate", "clock"]
    assert session.overhead_s["libraries"] >= 0.0


def test_what_loads_the_libraries_is_a_step_that_runs_and_draws_no_random_number() -> None:
    before = torch.get_rng_state()
    for groups in libraries.GROUPS:
        libraries._step(torch.device("cpu"), torch.bfloat16, groups)
    assert torch.equal(torch.get_rng_state(), before)


class TestWarmUp:
    @pytest.mark.parametrize(
        ("kind", "options"),
        [
            (torch.optim.SGD, {"momentum": 0.9, "nesterov": True}),
            (torch.optim.SGD, {"momentum": 0.9, "nesterov": True, "fused": True}),
            (torch.optim.SGD, {"momentum": 0.9, "dampening": 0.5}),
            (torch.optim.AdamW, {"fused": True}),
            (torch.optim.Adam, {}),
            (torch.optim.RMSprop, {"momentum": 0.5}),
            (torch.optim.NAdam, {}),
        ],
    )
    def test_after_it_every_optimiser_steps_as_a_fresh_one(self, kind: type, options: dict[str, object]) -> None:
        trained = []
        for warm in (False, True):
            model = network()
            optimizer = kind(model.parameters(), lr=0.05, **options)
            if warm:
                run_warm_up(model, optimizer)
            torch.manual_seed(1)
            for _ in range(3):
                step(model, optimizer)
            trained.append(model.state_dict())
        assert all(torch.equal(trained[0][name], trained[1][name]) for name in trained[0])

    def test_what_a_graph_has_captured_keeps_its_memory(self) -> None:
        """A captured step writes where the tensors were at its capture, and reads its learning rate there."""
        model = network()
        optimizer = torch.optim.AdamW(model.parameters(), lr=torch.tensor(0.01), capturable=False, foreach=False)
        captured: dict[str, list[Tensor]] = {}

        def capture() -> None:
            states = [entry for state in optimizer.state.values() for entry in state.values()]
            grads = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
            captured["now"] = [*model.parameters(), *model.buffers(), *states, *grads, optimizer.param_groups[0]["lr"]]

        run_warm_up(model, optimizer, capture)
        before = captured["now"]
        step(model, optimizer, clear=False)
        capture()
        assert [tensor.data_ptr() for tensor in before] == [tensor.data_ptr() for tensor in captured["now"]]
        assert all(state["step"] == 1 for state in optimizer.state.values())

    def test_a_state_from_before_it_is_put_back_in_place(self) -> None:
        model = network()
        optimizer = torch.optim.RMSprop(model.parameters(), lr=0.05)
        step(model, optimizer)
        averages = [state["square_avg"] for state in optimizer.state.values()]
        content = copy.deepcopy(optimizer.state_dict())
        values = [average.clone() for average in averages]
        step(model, optimizer)
        put_back(optimizer, content)
        assert all(torch.equal(average, value) for average, value in zip(averages, values, strict=True))
        assert all(
            state["square_avg"] is average for state, average in zip(optimizer.state.values(), averages, strict=True)
        )

    def test_what_the_warm_up_took_is_not_in_the_peak(self, monkeypatch: pytest.MonkeyPatch) -> None:
        calls: list[str] = []
        names = ("synchronize", "empty_cache", "reset_peak_memory_stats", "reset_accumulated_memory_stats")
        for name in names:
            monkeypatch.setattr(torch.cuda, name, lambda *_, name=name: calls.append(name))
        for _ in warm_up(lambda: (images(), images()), (), torch.device("cuda"), 1, []):
            assert "reset_peak_memory_stats" not in calls
        assert calls[-4:] == list(names)


def run_warm_up(model: nn.Module, optimizer: torch.optim.Optimizer, after_step=lambda: None) -> None:
    steps = 0
    for batch, _ in warm_up(lambda: (images(), images()), (model, optimizer), torch.device("cpu"), 1, []):
        step(model, optimizer, batch=batch, clear=False)
        after_step()
        steps += 1
    assert steps == WARM_UP_STEPS["cpu"]


def step(
    model: nn.Module, optimizer: torch.optim.Optimizer, batch: Tensor | None = None, *, clear: bool = True
) -> None:
    optimizer.zero_grad(set_to_none=clear)
    model(images() if batch is None else batch).square().mean().backward()
    optimizer.step()


@pytest.mark.gpu
def test_a_step_of_a_cuda_graph_trains_after_the_warm_up() -> None:
    if not torch.cuda.is_available():
        pytest.skip("there is no CUDA device: a captured step after the warm-up is not verified")
    model = nn.Linear(8, 8).cuda()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, capturable=True)
    batch, graph = torch.rand(4, 8, device="cuda"), torch.cuda.CUDAGraph()
    captured = False
    for _ in warm_up(lambda: (batch, batch), (model, optimizer), torch.device("cuda"), 1, []):
        if captured:
            graph.replay()
            continue
        side = torch.cuda.Stream()
        with torch.cuda.stream(side):
            for _ in range(3):
                step(model, optimizer, batch, clear=False)
        torch.cuda.current_stream().wait_stream(side)
        with torch.cuda.graph(graph):
            step(model, optimizer, batch, clear=False)
        captured = True
    before = model.weight.detach().clone()
    graph.replay()
    torch.cuda.synchronize()
    assert not torch.equal(before, model.weight)
    assert all(float(state["step"]) == 1 for state in optimizer.state.values())
