"""A convolution as 1x1, KxK and 1x1: Tucker decomposition of its input and output channels, after Kim et al. 2016.

READ FIRST
  1. The weight W (T, S, K, K) of S to T channels is near sum_pq C[q, p] U[t, q] V[s, p]: V^T is the 1x1 layer from S to P
     channels, the core C the KxK layer from P to Q, U the 1x1 layer from Q to T (arXiv:1511.06530, section 3.1).
  2. The start is the higher-order SVD (De Lathauwer et al. 2000), then U and V take turns (HOOI, alternating least
     squares) until the fit no longer improves. U and V have orthonormal columns.
  3. A side of full rank is no layer: its basis is the identity, and the core takes all its channels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from tersenet.errors import TersenetError
from tersenet.graph import Chain, Network, WeightedLayer, replace_layers
from tersenet.methods.low_rank import rank_by_energy
from tersenet.methods.vbmf import vbmf

Ranks = tuple[int, int]
"""P of the input channels, Q of the output channels."""

SWEEPS = 50
# A sweep that adds less of the weight's energy than this is the last one.
LEAST_GAIN = 1e-7


@dataclass(frozen=True)
class Tucker2:
    """A weight as a core between two orthonormal bases.

    core     C
    into     V
    out      U
    energy   share of the weight's squared numbers that the product holds; what it misses is 1 - energy
    sweeps   that were needed
    """

    core: Float64[Tensor, "Q P *kernel"]
    into: Float64[Tensor, "S P"]
    out: Float64[Tensor, "T Q"]
    energy: float
    sweeps: int

    def product(self) -> Float64[Tensor, "T S *kernel"]:
        """The weight that the three layers stand for."""
        return torch.einsum("qp...,tq,sp->ts...", self.core, self.out, self.into)

    def chain(self, kernel_dims: int) -> Chain:
        """The layers in place of the convolution; a side of full rank has none."""
        ones = (1,) * kernel_dims
        first = self.into.T.reshape(*self.into.T.shape, *ones)
        last = self.out.reshape(*self.out.shape, *ones)
        before = self.into.shape[0] != self.into.shape[1]
        after = self.out.shape[0] != self.out.shape[1]
        return Chain((*(first,) * before, self.core, *(last,) * after), spatial=int(before))


def tucker2(weight: Float[Tensor, "T S *kernel"], ranks: Ranks, sweeps: int = SWEEPS) -> Tucker2:
    """The decomposition with ranks (P, Q) of the input and output channels. Refused: ranks outside 1 to S and 1 to T."""
    out, into = weight.shape[:2]
    p, q = ranks
    if not (1 <= p <= into and 1 <= q <= out):
        raise TersenetError(
            f"ranks ({p}, {q}) for a convolution of {into} to {out} channels; expected are 1 to {into} and 1 to {out}"
        )
    w = weight.detach().double().flatten(2)
    total = float(w.square().sum())
    u, v = _leading(w.flatten(1), q), _leading(w.transpose(0, 1).flatten(1), p)
    energy, sweep = float(_core(w, u, v).square().sum()) / total, 0
    while sweep < sweeps and p < into and q < out:
        sweep += 1
        u = _leading(torch.einsum("tsk,sp->tpk", w, v).flatten(1), q)
        v = _leading(torch.einsum("tsk,tq->sqk", w, u).flatten(1), p)
        before, energy = energy, float(_core(w, u, v).square().sum()) / total
        if energy - before < LEAST_GAIN:
            break
    core = _core(w, u, v).reshape(q, p, *weight.shape[2:])
    return Tucker2(core, v, u, energy, sweep)


def _core(w: Tensor, u: Tensor, v: Tensor) -> Tensor:
    return torch.einsum("tsk,tq,sp->qpk", w, u, v)


def _leading(matrix: Float64[Tensor, "rows columns"], rank: int) -> Float64[Tensor, "rows rank"]:
    """Left singular vectors of the largest singular values; the identity where all are asked for."""
    if rank == len(matrix):
        return torch.eye(rank, dtype=torch.float64, device=matrix.device)
    vectors = torch.linalg.eigh(matrix @ matrix.T)[1]
    return vectors[:, -rank:].flip(1)


def unfoldings(weight: Float[Tensor, "T S *kernel"]) -> tuple[Float64[np.ndarray, "S n"], Float64[np.ndarray, "T m"]]:
    """The weight as a matrix by input channels and by output channels."""
    w = weight.detach().cpu().double()
    return w.transpose(0, 1).flatten(1).numpy(), w.flatten(1).numpy()


def ranks_by_vbmf(weight: Float[Tensor, "T S *kernel"]) -> Ranks:
    """(P, Q) as variational Bayesian matrix factorisation of both unfoldings says (Kim et al. 2016, section 3.2)."""
    into, out = unfoldings(weight)
    return vbmf(into).rank, vbmf(out).rank


def ranks_by_energy(weight: Float[Tensor, "T S *kernel"], energy: float) -> Ranks:
    """The least (P, Q) whose singular values hold this share of each unfolding's squared ones."""
    into, out = (np.linalg.svd(one, compute_uv=False) ** 2 for one in unfoldings(weight))
    return rank_by_energy(into, energy), rank_by_energy(out, energy)


def numbers(shape: Sequence[int], ranks: Ranks) -> int:
    """How many numbers the layers hold that stand for a weight of this shape."""
    (t, s, *kernel), (p, q) = shape, ranks
    return (s * p if p < s else 0) + p * q * int(np.prod(kernel)) + (q * t if q < t else 0)


def formula_rate(shape: Sequence[int], ranks: Ranks) -> float:
    """T S K^2 / (S P + P Q K^2 + Q T), the rate as the literature states it."""
    (t, s, *kernel), (p, q) = shape, ranks
    places = int(np.prod(kernel))
    return t * s * places / (s * p + p * q * places + q * t)


def factorise_convolutions(
    network: Network, layers: Sequence[WeightedLayer], ranks: Mapping[str, Ranks], sweeps: int = SWEEPS
) -> tuple[Network, list[str]]:
    """A network in which layers are chains of ranks (P, Q) by weight, and a sentence on each.

    A layer stays as it is where that takes no fewer numbers, or where a rank is 0: all of it is noise.
    """
    chains: dict[str, Chain] = {}
    notes = []
    for layer in layers:
        weight, (p, q) = network.dense(layer.weight), ranks[layer.weight]
        of = f"ranks {p} of {weight.shape[1]} in, {q} of {weight.shape[0]} out"
        if not p or not q:
            notes.append(f"{layer.name}: left as it is; {of}, so that all of it would be noise")
            continue
        try:
            found = tucker2(weight, (p, q), sweeps)
        except TersenetError as error:
            raise TersenetError(f"layer '{layer.name}': {error}") from None
        count, whole = numbers(weight.shape, (p, q)), weight.numel()
        if count >= whole:
            notes.append(f"{layer.name}: left as it is; {of} take {count:,} numbers, the layer itself {whole:,}")
            continue
        chains[layer.weight] = found.chain(weight.ndim - 2)
        rate, size = formula_rate(weight.shape, (p, q)), weight.element_size()
        notes.append(
            f"{layer.name}: {of}, {100 * found.energy:.1f} % of its energy; {rate:.2f}x by T S K^2 / (S P + P Q K^2 + Q T), "
            f"{size * count:,} bytes of {size * whole:,} as plain numbers"
        )
    return replace_layers(network, chains), notes
