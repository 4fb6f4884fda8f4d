"""A layer as two thinner ones: truncated SVD of its weight, also as the layer's inputs see it.

READ FIRST
  1. W (m x n) is a linear layer's weight, or a convolution's by output channel: m = T, n = S K K. In place of W stand A
     (m x k) and B (k x n): a layer from n to k, for a convolution KxK, and one from k to m, for a convolution 1x1
     (Denton et al. 2014, arXiv:1404.0736, section 3.2; Zhang et al. 2016, arXiv:1505.06798, section 3.1).
  2. For rows x with covariance C the error tr (W - AB) C (W - AB)^T is least for AB = U U^T W, U being the k leading
     eigenvectors of W C W^T (docs/notes/low_rank.md). With C = I that is the truncated SVD of W.
  3. A and B share the scale evenly: A^T A = B B^T.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from tersenet.calibration.collect import collect
from tersenet.errors import TersenetError
from tersenet.graph import Chain, Network, WeightedLayer, replace_layers
from tersenet.graph.chains import own_bias
from tersenet.methods._budget import Point, within
from tersenet.methods.vbmf import vbmf

# A tensor takes at most so many bytes in a file beside its numbers.
TENSOR_BYTES = 16
# Energy that is lost in rounding: a rank that reaches 1 - 1e-12 reaches 1.
ROUNDING = 1e-12


@dataclass(frozen=True)
class Spectrum:
    """A layer's weight, ready to be cut to any rank.

    matrix    W
    basis     U, all of it
    energies  what each direction of U adds to tr W C W^T, largest first; squared singular values where C = I
    mean      of the inputs, where the bias takes up what their mean does
    """

    layer: WeightedLayer
    matrix: Float64[np.ndarray, "m n"]
    basis: Float64[np.ndarray, "m full"]
    energies: Float64[np.ndarray, " full"]
    mean: Float64[np.ndarray, " n"] | None = None

    @property
    def full(self) -> int:
        """The rank of a matrix of this shape."""
        return min(self.matrix.shape)

    def numbers(self, rank: int) -> int:
        """How many numbers two factors of this rank hold."""
        return rank * sum(self.matrix.shape)

    def factors(self, rank: int) -> tuple[Float64[np.ndarray, "m k"], Float64[np.ndarray, "k n"]]:
        """A and B. Refused: a rank outside 1 to the matrix's."""
        if not 1 <= rank <= self.full:
            m, n = self.matrix.shape
            raise TersenetError(
                f"layer '{self.layer.name}': rank {rank} for a weight of {m} x {n}; expected is 1 to {self.full}"
            )
        left = self.basis[:, :rank]
        p, scales, right = np.linalg.svd(left.T @ self.matrix, full_matrices=False)
        root = np.sqrt(scales)
        return left @ p * root, root[:, None] * right


def spectra(network: Network, layers: Sequence[WeightedLayer], batches: Iterable[Any] | None = None) -> list[Spectrum]:
    """The spectrum of each layer's weight; with inputs, as their covariance weighs it.

    batches   inputs, labels unread. Where a layer has a bias of its own, C is the covariance and the bias takes up the
              mean; elsewhere C is the second moment about zero.
    """
    statistics = {} if batches is None else collect(network, batches, layers=[layer.name for layer in layers])
    found = []
    for layer in layers:
        matrix = network.dense(layer.weight).cpu().double().flatten(1).numpy()
        seen = statistics.get(layer.name)
        if seen is None:
            basis, values, _ = np.linalg.svd(matrix, full_matrices=False)
            found.append(Spectrum(layer, matrix, basis, values**2))
            continue
        covariance, mean = seen.second_moment[0].cpu().numpy(), seen.input_mean[0].cpu().numpy()
        centred = own_bias(network, layer) is not None
        if centred:
            covariance = covariance - np.outer(mean, mean)
        energies, basis = np.linalg.eigh(matrix @ covariance @ matrix.T)
        order = slice(None, -min(matrix.shape) - 1, -1)
        energies = energies[order].clip(min=0)
        if not energies[0] > 0:
            raise TersenetError(
                f"layer '{layer.name}' meets constant inputs, which give no covariance; give other data"
            )
        found.append(Spectrum(layer, matrix, basis[:, order], energies, mean if centred else None))
    return found


def rank_by_energy(energies: Float64[np.ndarray, " full"], share: float) -> int:
    """The least rank that holds this share of the sum."""
    held = np.cumsum(energies) / energies.sum()
    return min(int(np.searchsorted(held, share - ROUNDING)) + 1, len(energies))


def rank_by_numbers(spectrum: Spectrum, share: float) -> int:
    """The largest rank whose factors hold at most this share of the matrix's numbers, at least 1; the full one for all."""
    return spectrum.full if share >= 1 else max(1, int(share * spectrum.matrix.size / sum(spectrum.matrix.shape)))


def rank_by_vbmf(spectrum: Spectrum) -> int:
    """How many components of the weight itself are more than noise; 0 where none is."""
    return vbmf(spectrum.matrix).rank


def ranks_within(
    spectra: Sequence[Spectrum], budget: int, *, number_bytes: int = 1, tensor_bytes: int = 0
) -> list[int]:
    """Ranks by which all layers together take at most `budget`; the full rank stands for a layer that stays whole.

    The error of a layer is the share of its energy that goes, and the sum of errors is to be small. Refused: less than
    rank 1 takes everywhere.
    """
    chosen = within([_points(one, number_bytes, tensor_bytes) for one in spectra], budget)
    return [point.rank for point in chosen]


def _points(spectrum: Spectrum, number_bytes: int, tensor_bytes: int) -> list[Point]:
    errors = 1 - np.cumsum(spectrum.energies) / spectrum.energies.sum()
    whole = spectrum.matrix.size * number_bytes + tensor_bytes
    cut = [(rank, spectrum.numbers(rank) * number_bytes + 2 * tensor_bytes) for rank in range(1, spectrum.full)]
    points = [Point(rank, cost, float(errors[rank - 1])) for rank, cost in cut if cost < whole]
    return [*points, Point(spectrum.full, whole, 0.0)]


def shrinks(spectrum: Spectrum, rank: int) -> bool:
    """Whether two factors hold fewer numbers than the matrix."""
    return spectrum.numbers(rank) < spectrum.matrix.size


def formula_rate(spectrum: Spectrum, rank: int) -> float:
    """m n / (k (m + n + 1)), the rate as the literature states it: U, V and the singular values."""
    m, n = spectrum.matrix.shape
    return m * n / (rank * (m + n + 1))


def factorise_layers(
    network: Network, spectra: Sequence[Spectrum], ranks: Mapping[str, int]
) -> tuple[Network, list[str]]:
    """A network in which layers are two factors of a rank by weight, and a sentence on each.

    A layer stays as it is where two factors take no fewer numbers, or where its rank is 0: all of it is noise. Refused: a
    rank above the matrix's.
    """
    chains: dict[str, Chain] = {}
    notes = []
    for one in spectra:
        rank, name, whole = ranks[one.layer.weight], one.layer.name, one.matrix.size
        if not rank:
            notes.append(f"{name}: left as it is; rank 0 of {one.full}, so that all of it would be noise")
            continue
        chain = as_chain(network, one, rank)
        if not shrinks(one, rank):
            notes.append(
                f"{name}: left as it is; rank {rank} of {one.full} takes {one.numbers(rank):,} numbers, the layer itself {whole:,}"
            )
            continue
        chains[one.layer.weight] = chain
        held, size = one.energies[:rank].sum() / one.energies.sum(), network.dense(one.layer.weight).element_size()
        notes.append(
            f"{name}: rank {rank} of {one.full}, {100 * held:.1f} % of its energy; {formula_rate(one, rank):.2f}x by "
            f"m n / (k (m + n + 1)), {size * one.numbers(rank):,} bytes of {size * whole:,} as plain numbers"
        )
    return replace_layers(network, chains), notes


def as_chain(network: Network, spectrum: Spectrum, rank: int) -> Chain:
    """The two layers of a rank, in the shapes of the layer's weight."""
    a, b = spectrum.factors(rank)
    shape = network.dense(spectrum.layer.weight).shape
    first = torch.from_numpy(b).reshape(rank, *shape[1:])
    second = torch.from_numpy(a).reshape(shape[0], rank, *[1] * (len(shape) - 2))
    change: Tensor | None = None
    if spectrum.mean is not None:
        change = torch.from_numpy((spectrum.matrix - a @ b) @ spectrum.mean)
    return Chain((first, second), spatial=0, bias_change=change)
