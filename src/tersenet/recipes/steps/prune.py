"""Magnitude pruning as a step."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import torch
from annotated_types import Ge, Gt, Le
from pydantic import Field, model_validator
from torch import nn

from tersenet.forms import Masked
from tersenet.graph import Network
from tersenet.methods.patterns import Neighbours, Pattern, parse_pattern
from tersenet.methods.prune import Rule, attach_pruned
from tersenet.methods.rewind import rewind
from tersenet.methods.schedule import Cubic, Surgery, cut_gradually, masked_forms, operate, remask
from tersenet.methods.select import replace_form, select_layers
from tersenet.recipes.steps.base import Changed, Keep, Quality, Setting, Situation, Step
from tersenet.training import AfterStep, TrainConfig

Threshold = Annotated[float, Ge(0)]
Share = Annotated[float, Ge(0), Le(1)]


class Prune(Step):
    """Keep the largest weights of each layer matched by `where`, and train what is left.

    Give `keep`, the fraction that stays in the end, or `quality`: weights within quality x standard deviation go, or
    `threshold`: weights of at most that magnitude go; 0 leaves the zeros that are there zero. scope "global" takes one
    threshold for all layers together. A pattern "2:4" says itself how many stay; blocks such as "4x1" go whole.

    schedule   "iterative": prune, then train, `iterations` times, each keeping its root of `keep` (Han et al. 2015);
               "gradual": in many cuts while it trains (Zhu and Gupta 2017); "dynamic": while it trains, and what
               grows comes back (Guo et al. 2016)
    rewind     before each training the kept weights, and all that was not pruned, go back to what they were at the
               "start" of the run, or after the step of this number, counted from 1 (Frankle and Carbin 2019)
    """

    may_stop_early: ClassVar[bool] = True
    id: Literal["prune"] = "prune"
    where: str = "*"
    keep: Keep | dict[str, Keep] | None = None
    quality: Quality | dict[str, Quality] | None = None
    threshold: Threshold | dict[str, Threshold] | None = None
    pattern: str | None = Field(None, description='"2:4": two of four neighbours stay; "4x1": blocks of rows x columns')
    scope: Literal["layer", "global"] = "layer"
    schedule: Literal["iterative", "gradual", "dynamic"] = "iterative"
    iterations: Annotated[int, Ge(1)] = 1
    begin: Share | None = Field(None, description="gradual: share of the training before the first cut; 0 by default")
    end: Share | None = Field(
        None, description="share of the training with the last cut (gradual, 0.75), or change (dynamic, 0.5)"
    )
    frequency: Annotated[float, Gt(0), Le(1)] | None = Field(
        None, description="gradual: share of the training from cut to cut; 0.01 by default"
    )
    rewind: Literal["start"] | Annotated[int, Ge(1)] | None = None
    last_train: TrainConfig | None = Field(None, description="training after the last iteration instead of `train`")

    @model_validator(mode="after")
    def _fits_together(self) -> Prune:
        _ = self._rule
        for name, schedules in (("begin", ("gradual",)), ("end", ("gradual", "dynamic")), ("frequency", ("gradual",))):
            if getattr(self, name) is not None and self.schedule not in schedules:
                raise ValueError(f"{name} belongs to schedule {' or '.join(schedules)}; this one is {self.schedule}")
        if self.iterations > 1 and isinstance(self._pattern, Neighbours):
            raise ValueError(f"the pattern {self.pattern} cuts all at once; drop iterations")
        if self.schedule == "iterative":
            configs = [self.train_config(stage) for stage in range(self.stages)]
            if self.rewind is not None and not all(config is not None and config.epochs for config in configs):
                raise ValueError("rewind undoes training, so each iteration needs some; give train, with epochs")
            return self
        for name, given in (
            ("rewind", self.rewind is not None),
            ("last_train", self.last_train is not None),
            ("iterations", self.iterations > 1),
        ):
            if given:
                raise ValueError(f"schedule {self.schedule} prunes once, while it trains; drop {name}")
        if not self.needs_data:
            raise ValueError(f"schedule {self.schedule} prunes while it trains; give train, with epochs")
        if self.schedule == "gradual":
            if self.keep is None:
                raise ValueError("schedule gradual needs keep, the fraction that it ends with")
            if self.train is not None and self.train.keeps_best:
                which = "keep_best" if self.train.keep_best else "patience"
                raise ValueError(f"{which} could choose a network that gradual has not pruned yet; drop one of them")
            _ = self._cubic
        else:
            if not self._can_cut:
                raise ValueError("schedule dynamic with 0 cuts nothing; give a larger number, or keep")
            _ = self._surgery
        return self

    @property
    def _can_cut(self) -> bool:
        limits = self.quality if self.threshold is None else self.threshold
        return limits is None or any(limits.values() if isinstance(limits, dict) else [limits])

    def with_table(self, setting: Setting, table: dict[str, Any]) -> Prune | None:
        if setting != "keep" or isinstance(self._pattern, Neighbours):
            return None
        only = {"keep": table, "quality": None, "threshold": None, "scope": "layer"}
        return Prune(**self.model_dump() | only)

    @property
    def stages(self) -> int:
        return self.iterations

    def label(self, stage: int) -> str:
        if self.schedule != "iterative":
            return f"prune, {self.schedule}"
        return f"prune {stage + 1}/{self.iterations}" if self.iterations > 1 else "prune"

    def train_config(self, stage: int) -> TrainConfig | None:
        return self.last_train if self.last_train is not None and stage == self.iterations - 1 else self.train

    def change(self, network: Network, at: Situation) -> Changed:
        weights = {layer.weight: network.dense(layer.weight) for layer in select_layers(network, self.where)}
        scores = {name: weight.abs() for name, weight in weights.items()}
        if self.schedule == "gradual":
            for name, weight in weights.items():
                replace_form(network, name, Masked.fit(weight))
        elif self.schedule == "dynamic":
            masks = self._rule.masks(network, scores)
            for name, weight in weights.items():
                replace_form(network, name, Masked.fit(weight, regrows=True))
            remask(masked_forms(network), masks, 0.0)
        else:
            masks = self._rule.masks(network, scores, lambda keep: keep ** ((at.stage + 1) / self.iterations))
            if self.rewind is not None:
                rewind(network, at.earlier(0 if self.rewind == "start" else self.rewind))
            for name, mask in masks.items():
                attach_pruned(network, name, torch.where(mask, network.dense(name), 0.0))
        return network, []

    def after_step(self, at: Situation) -> AfterStep | None:
        def cut(network: nn.Module, done: float) -> None:
            assert isinstance(network, Network)
            cut_gradually(network, self._rule, self._cubic, done)

        def surgery(network: nn.Module, done: float) -> None:
            assert isinstance(network, Network)
            operate(network, self._rule, self._surgery, done, at.seed)

        return {"iterative": None, "gradual": cut, "dynamic": surgery}[self.schedule]

    def settle(self, network: Network, at: Situation) -> Changed:
        if self.schedule == "gradual":
            cut_gradually(network, self._rule, self._cubic, 1.0)
        for name, form in masked_forms(network).items():
            attach_pruned(network, name, form().detach())
        return network, []

    @property
    def _rule(self) -> Rule:
        return Rule(
            keep=self.keep,
            quality=self.quality,
            threshold=self.threshold,
            pattern=self._pattern,
            together=self.scope == "global",
        )

    @property
    def _pattern(self) -> Pattern | None:
        return None if self.pattern is None else parse_pattern(self.pattern)

    @property
    def _cubic(self) -> Cubic:
        given = {"begin": self.begin, "end": self.end, "frequency": self.frequency}
        return Cubic(**{name: share for name, share in given.items() if share is not None})

    @property
    def _surgery(self) -> Surgery:
        return Surgery() if self.end is None else Surgery(end=self.end)
