"""Sensitivity measured point by point, so that it can be stopped at any time and gone on with.

READ FIRST
  1. With `path`, the record is on the disk after every point. The same call, or one with other levels, methods or
     layers, takes what is there and measures the rest.
  2. A record carries a fingerprint of all that its scores depend on: weights, data, examples, metric, coder, seed. A file
     with another one is refused.
  3. Levels go from coarse to fine, all layers and methods at each: what a stopped search has is spread over all.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable
from functools import partial
from itertools import zip_longest
from typing import Any

from tersenet.artifact import stored
from tersenet.calibration import recalibrate_batchnorm, sample_batches
from tersenet.container.file import tensor_bytes
from tersenet.errors import TersenetError
from tersenet.graph import Network
from tersenet.recipes.fingerprint import add_data, add_network, check_finite
from tersenet.search.alone import SHARES, Target, changed, check_levels, check_methods, targets
from tersenet.search.order import coarse_first
from tersenet.search.record import Point, Sensitivity
from tersenet.search.resume import check_budget, check_examples, measure_all, metric_name, opened
from tersenet.training.evaluate import Score, evaluate

LEVELS = (0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.05)
BITS = (8, 7, 6, 5, 4, 3, 2, 1)
BATCH_SIZE = 256
# As the step `batchnorm` has them.
BATCHNORM_EXAMPLES, BATCHNORM_BATCH = 2048, 128
DEPENDS_ON = "weights, data, examples, metric, coder, seed or batchnorm"

Asked = tuple[str, Target, float]


def sensitivity(
    network: Network,
    data: Any,
    *,
    methods: Iterable[str] = ("prune", "bits"),
    levels: Iterable[float] = LEVELS,
    bits: Iterable[int] = BITS,
    where: str = "*",
    examples: int | None = None,
    budget_s: float | None = None,
    metric: Callable[..., float] | None = None,
    batchnorm: Any = None,
    coder: str = "huffman",
    seed: int = 0,
    device: str = "cpu",
    path: str | os.PathLike[str] | None = None,
    source: str = "",
    on_point: Callable[[int, int], None] | None = None,
) -> Sensitivity:
    """The quality of a network with each layer changed alone, to each level; the network itself stays as it is.

    data        a split of the zoo, or a loader of (x, y) batches: what is scored on
    methods     prune (by magnitude), bits (shared values), channels (coupled ones leave together), rank (two layers)
    levels      shares that stay, for prune, channels and rank
    bits        bits a weight, 1 to 16, for bits
    where       patterns of layers, as in recipes
    examples    score on so many inputs, drawn by `seed`, instead of all
    budget_s    seconds after which no other point is begun; the record says how many are missing
    metric      fn(model, loader) -> float, larger is better, instead of accuracy
    batchnorm   training data from whose inputs BatchNorm is estimated anew after each change; by default it is not
    path        where the record is kept after every point, and gone on from
    on_point    called with the points measured by this call and how many it has to measure

    Raises TersenetError for bad input, among it a file at `path` that is no record or one of other weights or data. A
    KeyboardInterrupt leaves a file from which the same call goes on.
    """
    methods, shares, widths = tuple(dict.fromkeys(methods)), tuple(levels), tuple(bits)
    check_methods(methods)
    check_levels(shares, widths)
    check_budget(budget_s)
    check_examples(examples)
    check_finite(network)
    asked = _asked(network, methods, shares, widths, where)
    about = [examples, metric_name(metric), batchnorm is not None, coder, seed, device]
    fingerprint = _fingerprint(network, data, batchnorm, about)
    if examples is not None:
        data = list(sample_batches(data, examples, BATCH_SIZE, seed))
    search = _Search(network.clone().to(device), data, metric, batchnorm, coder, seed, device)
    record = opened(path, fingerprint, Sensitivity, DEPENDS_ON)
    if record is None:
        record = search.begun(fingerprint, source)
    original = record.original
    todo = {(one[0], one[1][0], one[2]): partial(search.measured, one, original) for one in asked}
    return measure_all(record, todo, path, budget_s, on_point)


class _Search:
    """What all points share."""

    def __init__(
        self,
        network: Network,
        data: Any,
        metric: Callable[..., float] | None,
        batchnorm: Any,
        coder: str,
        seed: int,
        device: str,
    ) -> None:
        self.network, self.data, self.metric, self.batchnorm = network, data, metric, batchnorm
        self.coder, self.seed, self.device = coder, seed, device
        self.before: dict[str, int] = {}

    def begun(self, fingerprint: str, source: str) -> Sensitivity:
        score = self._score(self.network)
        measure = "metric" if score.metric is not None else "accuracy" if score.accuracy is not None else "loss"
        return Sensitivity(
            fingerprint=fingerprint,
            source=source,
            measure=measure,
            original=score.quality,
            examples=score.examples,
            coder=self.coder,
            batchnorm=self.batchnorm is not None,
            missing=0,
        )

    def measured(self, asked: Asked, original: float) -> Point:
        method, target, level = asked
        started = time.monotonic()
        network, names = changed(self.network, method, target, level, self.seed)
        before = sum(self._bytes_before(name) for name in names if name in self.network.graph.parameters)
        saved = before - sum(self._bytes(network, name) for name in names if name in network.graph.parameters)
        if self.batchnorm is not None:
            batches = sample_batches(self.batchnorm, BATCHNORM_EXAMPLES, BATCHNORM_BATCH, self.seed)
            recalibrate_batchnorm(network, batches)
        quality = self._score(network).quality
        return Point(
            method=method,
            layers=target,
            level=level,
            quality=quality,
            # 0.30000000000000004 points are 0.3.
            lost_points=round(100 * (original - quality), 8),
            bytes_saved=saved,
            seconds=round(time.monotonic() - started, 3),
        )

    def _score(self, network: Network) -> Score:
        return evaluate(network, self.data, batch_size=BATCH_SIZE, metric=self.metric, device=self.device)

    def _bytes_before(self, name: str) -> int:
        if name not in self.before:
            self.before[name] = self._bytes(self.network, name)
        return self.before[name]

    def _bytes(self, network: Network, name: str) -> int:
        return tensor_bytes(stored(network, name, self.coder), self.coder)


def _asked(
    network: Network, methods: tuple[str, ...], shares: tuple[float, ...], widths: tuple[int, ...], where: str
) -> list[Asked]:
    """All points, the coarse levels of all methods and layers before the finer ones."""
    ordered = {method: coarse_first(shares if method in SHARES else widths) for method in methods}
    empty = [method for method, levels in ordered.items() if not levels]
    if empty:
        raise TersenetError(f"{empty[0]}: there is no level to measure; give at least one")
    alone = {method: targets(network, method, where) for method in methods}
    return [
        (method, target, level)
        for round_of in zip_longest(*ordered.values())
        for method, level in zip(methods, round_of)
        if level is not None
        for target in alone[method]
    ]


def _fingerprint(network: Network, data: Any, batchnorm: Any, about: list[Any]) -> str:
    digest = hashlib.sha256(json.dumps(about).encode())
    add_network(digest, network)
    add_data(digest, data)
    if batchnorm is not None:
        add_data(digest, batchnorm)
    return digest.hexdigest()
