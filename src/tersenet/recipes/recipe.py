"""A recipe is data: steps and a coder, read from YAML, checked by pydantic, carried in the file."""

from __future__ import annotations

import difflib
import os
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from tersenet.container import read_file
from tersenet.errors import TersenetError
from tersenet.recipes.steps import AnyStep, Prune, Step
from tersenet.recipes.steps.base import Setting
from tersenet.training.config import LossName

Coder = Literal["raw", "huffman", "rans", "range"]


class Recipe(BaseModel):
    """How a network becomes small: the steps in order, then the coder of its integer streams."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    description: str = ""
    source: str = ""
    steps: tuple[AnyStep, ...] = ()
    coder: Coder = "huffman"

    @model_validator(mode="after")
    def _rewinds_backwards(self) -> Recipe:
        for before, step in enumerate(self.steps):
            if isinstance(step, Prune) and isinstance(step.rewind, int) and step.rewind > before:
                raise ValueError(
                    f"step {before + 1} rewinds to step {step.rewind}, which is not before it; name one that is, or start"
                )
        return self

    @model_validator(mode="after")
    def _codes_as_its_steps_need(self) -> Recipe:
        for number, step in enumerate(self.steps, 1):
            if step.under(self.coder) != step:
                raise ValueError(
                    f"step {number} rounds along a trellis, which takes more bytes under any coder but range; "
                    f"set coder: range in place of {self.coder}, or trellis: 0"
                )
        return self

    @property
    def trains(self) -> bool:
        """Whether any step needs training data."""
        return any(step.needs_data for step in self.steps)

    @property
    def loss(self) -> LossName | None:
        """What its training minimises first, or None where nothing trains."""
        configs = (step.train_config(stage) for step in self.steps for stage in range(step.stages))
        return next((config.loss for config in configs if config is not None and config.epochs), None)

    def compact(self) -> dict[str, Any]:
        """The recipe without defaults and prose, as a file carries it."""
        return self.model_dump(exclude_defaults=True, exclude={"description", "source"}, mode="json") | {
            "steps": [{"id": step.id, **step.model_dump(exclude_defaults=True, mode="json")} for step in self.steps]
        }

    def with_settings(
        self,
        *,
        bits: dict[str, int] | None = None,
        keep: dict[str, float] | None = None,
        channels: dict[str, float] | None = None,
        rank: dict[str, float] | None = None,
    ) -> Recipe:
        """The recipe with other bits, or shares of weights, channels or factors kept, by layer. Refused where no step
        takes them.
        """
        steps: list[Step] = list(self.steps)
        given: dict[Setting, dict[str, Any] | None] = {
            "bits": bits,
            "keep": keep,
            "channels": channels,
            "rank": rank,
        }
        for setting, table in given.items():
            if table is None:
                continue
            changed = [step.with_table(setting, table) for step in steps]
            if all(step is None for step in changed):
                raise TersenetError(f"recipe {self.name} has no step that takes {setting}")
            steps = [new or old for new, old in zip(changed, steps)]
        return self.model_copy(update={"steps": tuple(steps)})

    def with_coder(self, coder: str) -> Recipe:
        """The recipe under another coder, and without what would not pay there."""
        steps = tuple(step.under(coder) for step in self.steps)
        return self.model_copy(update={"coder": coder, "steps": steps})

    def at_quality(self, quality: float) -> Recipe:
        """The recipe for fewer bytes (towards 0) or fewer errors (towards 100). Refused where no step has such a scale."""
        if not 0 <= quality <= 100:
            raise TersenetError(f"a quality of {quality:g}; 0 to 100 can be")
        changed = [step.at_quality(quality) for step in self.steps]
        if all(step is None for step in changed):
            raise TersenetError(
                f"recipe {self.name} has no step with a quality; smallest, oneshot, data-free and weights-only have one"
            )
        return self.model_copy(update={"steps": tuple(new or old for new, old in zip(changed, self.steps))})

    @property
    def has_quality(self) -> bool:
        """Whether bytes and errors can be traded by one number."""
        return any(step.at_quality(50) is not None for step in self.steps)

    def takes(self, setting: Setting) -> bool:
        """Whether a step takes a table of this setting."""
        return any(step.with_table(setting, {"*": 1}) is not None for step in self.steps)


def shipped() -> dict[str, Recipe]:
    """The recipes that come with the package, by name."""
    folder = resources.files("tersenet.recipes") / "shipped"
    files = sorted((entry for entry in folder.iterdir() if entry.name.endswith(".yaml")), key=lambda entry: entry.name)
    return {entry.name.removesuffix(".yaml"): parse(entry.read_text(), entry.name) for entry in files}


def parse(text: str, name: str) -> Recipe:
    """A recipe from YAML text. Every error names the file and the path of the wrong key."""
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise TersenetError(f"{name}: not valid YAML ({str(error).splitlines()[0]})") from error
    if not isinstance(data, dict):
        raise TersenetError(f"{name}: a recipe is a table with name, steps and coder; got {type(data).__name__}")
    data.setdefault("name", Path(name).stem)
    try:
        return Recipe.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "recipe"
        more = f" ({error.error_count() - 1} more)" if error.error_count() > 1 else ""
        raise TersenetError(f"{name}: {where}: {first['msg'].removeprefix('Value error, ')}{more}") from error


def load_recipe(recipe: str | os.PathLike[str] | Recipe) -> Recipe:
    """A recipe by its name, from a YAML file, or itself."""
    if isinstance(recipe, Recipe):
        return recipe
    text = os.fspath(recipe)
    if text.endswith((".yaml", ".yml")):
        return parse(read_file(text).decode("utf-8", "replace"), text)
    known = shipped()
    if text not in known:
        near = difflib.get_close_matches(text, known, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise TersenetError(f"recipe '{text}' is unknown; shipped are {', '.join(known)}, or give a .yaml file{hint}")
    return known[text]


def schema() -> dict[str, Any]:
    """The JSON schema of a recipe file, for editors."""
    return Recipe.model_json_schema()


__all__ = ["Recipe", "load_recipe", "parse", "schema", "shipped"]
