"""A step of training recorded once on a GPU and replayed: one launch in place of some thousands.

READ FIRST
  1. A recording holds kernels and addresses, no Python. What changes from step to step is copied into its tensors: inputs,
     targets and the time. What it computes stays in its own: outputs, loss and gradients, overwritten by the next replay.
  2. While a step is recorded nothing runs, so the run's state is what it was; the first replay is the first step.
  3. All of the run is on one stream: gradients are gathered on the stream where they first were.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from tersenet.training.errors import TrainingError

WARM_STEPS = 3
"""Steps before the recorded one: libraries choose and load their kernels, which cannot be done in a recording."""


class Recorder:
    """Gradients of one step, from a recording wherever inputs and targets have the shapes of the first.

    gradients    (inputs, targets, done_epochs) to outputs and loss; leaves gradients in `parameters`
    parameters   those that are trained
    outputs      of the last replay
    """

    outputs: Tensor

    def __init__(
        self, gradients: Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]], parameters: Sequence[Tensor]
    ) -> None:
        self._gradients = gradients
        self._parameters = parameters
        self._graph: torch.cuda.CUDAGraph | None = None
        self._stream = torch.cuda.Stream(parameters[0].device)  # type: ignore[no-untyped-call]
        self._shapes: tuple[torch.Size, ...] = ()
        self._seen = 0

    @contextmanager
    def stream(self) -> Iterator[None]:
        """What is launched inside goes to the recorder's stream; so does the choice of convolutions, by timing."""
        self._stream.wait_stream(torch.cuda.current_stream())
        chosen = torch.backends.cudnn.benchmark
        torch.backends.cudnn.benchmark = True
        try:
            with torch.cuda.stream(self._stream):
                yield
        finally:
            torch.backends.cudnn.benchmark = chosen
            torch.cuda.current_stream().wait_stream(self._stream)

    def ready(self, x: Tensor, y: Tensor) -> bool:
        """Whether a step of these shapes is recorded; after WARM_STEPS of the first shapes it is recorded here."""
        shapes = (x.shape, y.shape)
        if not self._seen:
            self._shapes = shapes
        if shapes != self._shapes:
            return False
        if self._seen == WARM_STEPS:
            self._record(x, y)
        self._seen += 1
        return self._graph is not None

    def replay(self, x: Tensor, y: Tensor, done_epochs: float) -> tuple[Tensor, Tensor]:
        """Outputs, which the next replay overwrites, and loss of the step; its gradients are in the parameters."""
        assert self._graph is not None
        self._x.copy_(x)
        self._y.copy_(y)
        self._time.fill_(done_epochs)
        self._graph.replay()
        for parameter, gradient in zip(self._parameters, self._kept, strict=True):
            parameter.grad = gradient
        return self.outputs, self._loss.clone()

    def _record(self, x: Tensor, y: Tensor) -> None:
        self._x, self._y = x.clone(), y.clone()
        self._time = torch.zeros((), device=x.device)
        for parameter in self._parameters:
            parameter.grad = None  # else the recording would add to it
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, stream=self._stream):
                outputs, loss = self._gradients(self._x, self._y, self._time)
        except RuntimeError as error:
            reason = str(error).split("\n")[0]
            raise TrainingError(f"the step cannot be recorded ({reason}); set replay false") from error
        self.outputs, self._loss = outputs.detach(), loss.detach()
        self._kept = [parameter.grad for parameter in self._parameters]
        self._graph = graph
