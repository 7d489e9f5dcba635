"""`torch.compile` for a program that must train in any case: what cannot be compiled runs as it is, and is recorded.

The first call tries the compiler, forward and backward, inside the warm-up and its free time; the buffers of the model
and the random generators are as before afterwards. Rungs and predictions are evaluated without it
(`swarm.harness.loop.forward`), so that no shape but the training's is ever compiled.

Not promised: that a failure in the backward pass of a later shape is answered; the trial then ends as crashed.
"""

import subprocess
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from swarm.harness import session as sessions

Compiler = Callable[[nn.Module], Callable[..., object]]
_COMPILER: Compiler = partial(torch.compile, dynamic=False)
# What Dynamo, Inductor, Triton and the C++ compiler below them raise, as far as their documentation and source say.
_FAILURES = (RuntimeError, OSError, ImportError, AttributeError, TypeError, ValueError, subprocess.SubprocessError)
_OUT_OF_MEMORY = (torch.OutOfMemoryError, MemoryError)
_MAX_REASON = 100


def compiled(model: nn.Module) -> Callable[..., Tensor]:
    """The model as a function, compiled where there is a GPU. Parameters and state stay the model's own: hand `model`
    itself to `clock.batches` and to `finish`. On a CPU, where compiling takes longer than it saves, `model`."""
    session = sessions.current_if_any()
    if session is None or session.device.type == "cpu":
        return model
    if reason := session.why_uncompiled():
        session.note_compilation(f"not compiled: {reason}")
        return model
    return Compiled(model, session.note_compilation)  # type: ignore[return-value] # a call gives what the model gives


class Compiled:
    """Calls the compiled model, and from the compiler's first failure on the model itself."""

    def __init__(self, model: nn.Module, note: Callable[[str], None], compiler: Compiler = _COMPILER) -> None:
        """`note` gets one line: `compiled in 12.3 s`, or `not compiled: ` and why."""
        self._model, self._note, self._compiler = model, note, compiler
        self._call: Callable[..., object] | None = None

    def __call__(self, *inputs: object) -> object:
        if self._call is None:
            self._call = self._tried(*inputs)
        if self._call is self._model:
            return self._model(*inputs)
        try:
            return self._call(*inputs)
        except torch._dynamo.exc.TorchDynamoException as error:  # a new shape, say
            return self._give_up(error)(*inputs)

    def _tried(self, *inputs: object) -> Callable[..., object]:
        began = time.monotonic()
        buffers = [(buffer, buffer.clone()) for buffer in self._model.buffers()]
        on = {buffer.device for buffer in self._model.parameters() if buffer.device.type == "cuda"}
        try:
            with torch.random.fork_rng(devices=list(on)):
                call = self._compiler(self._model)
                _backward(call(*inputs), self._model)
        except _OUT_OF_MEMORY:
            raise
        except (*_FAILURES, torch._dynamo.exc.TorchDynamoException) as error:
            return self._give_up(error)
        finally:
            for buffer, before in buffers:
                buffer.copy_(before)
        self._note(f"compiled in {time.monotonic() - began:.1f} s")
        return call

    def _give_up(self, error: Exception) -> nn.Module:
        lines = str(error).strip().splitlines()
        reason = f"{type(error).__name__}: {lines[0] if lines else 'no reason given'}"
        self._note(f"not compiled: {reason[:_MAX_REASON]}")
        self._call = self._model
        return self._model


def _backward(output: object, model: nn.Module) -> None:
    """The backward pass is compiled when it first runs. Its gradients are thrown away."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if isinstance(output, Tensor) and output.requires_grad and trained:
        torch.autograd.grad(output.float().sum(), trained, allow_unused=True)
