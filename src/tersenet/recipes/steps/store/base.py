"""What the steps share that put a form in place of weights, one file a form."""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Gt
from pydantic import Field
from torch import Tensor

from tersenet.calibration import sample_batches
from tersenet.calibration.batches import checked_inputs
from tersenet.graph import Network, WeightedLayer
from tersenet.methods.latent import attach_whole
from tersenet.methods.post_training import Fit as Fit
from tersenet.methods.post_training import store_calibrated
from tersenet.methods.select import select_layers
from tersenet.methods.share import attach_values
from tersenet.recipes.steps.base import Changed, Situation, Step


class StoreStep(Step):
    """Store the weights matched by `where` in a form, then train what the form leaves free. Zeros that are there stay.

    With `calibrate`, layer after layer is held to the original's answers on so many training inputs, by error feedback
    (Frantar et al. 2023, arXiv:2210.17323), and biases or BatchNorm keep each channel's mean; labels are not read.
    """

    # Whether zeros of a weight that no sparse form holds stay zero too.
    keeps_zeros: ClassVar[bool] = True
    id: Literal["store"] = "store"
    where: str = "*"
    calibrate: Annotated[int, Ge(0)] = Field(0, description="training inputs to calibrate on; 0 takes weights alone")
    batch_size: Annotated[int, Ge(2)] = Field(128, description="of the inputs to calibrate on")
    damping: Annotated[float, Gt(0)] = Field(0.01, description="added to second moments, of their mean diagonal")

    @classmethod
    def over_range(cls) -> tuple[StoreStep, ...]:
        """Steps of this form from its most bits to its fewest: the points of a curve of size against accuracy."""
        return ()

    @abstractmethod
    def fit(self, layer: WeightedLayer, network: Network, at: Situation, notes: list[str]) -> Fit:
        """How the form of one layer is made; what a user should know of it goes to `notes`."""

    @property
    def needs_data(self) -> bool:
        return self.calibrate > 0 or super().needs_data

    def change(self, network: Network, at: Situation) -> Changed:
        notes: list[str] = []
        fits = {layer.weight: self.fit(layer, network, at, notes) for layer in select_layers(network, self.where)}
        if self.calibrate:
            network = network.cpu()
            inputs = self._inputs(network, at, notes)
            notes += store_calibrated(network, inputs, fits, damping=self.damping, keep_zeros=self.keeps_zeros)
        else:
            attach = attach_values if self.keeps_zeros else attach_whole
            for name, fit in fits.items():
                attach(network, name, fit)
        return network, notes

    def _inputs(self, network: Network, at: Situation, notes: list[str]) -> list[tuple[Tensor, ...]]:
        sampled = sample_batches(at.train, self.calibrate, self.batch_size, at.seed)
        inputs = list(checked_inputs(network, sampled))
        there = sum(len(batch[0]) for batch in inputs)
        if there < self.calibrate:
            notes.append(f"calibrated on {there} inputs, not {self.calibrate}: the training data has no more")
        return inputs
