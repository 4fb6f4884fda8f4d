"""A recipe is data: YAML and model are the same, errors name the key, what ships is sound."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from tersenet.errors import TersenetError
from tersenet.recipes import Recipe, load_recipe, parse, schema, shipped


@pytest.mark.parametrize("name", shipped())
def test_shipped_recipes_survive_the_way_through_yaml_and_through_a_file(name):
    recipe = shipped()[name]
    assert recipe.name == name
    assert recipe.description
    assert parse(yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False), "x.yaml") == recipe
    compact = Recipe.model_validate(recipe.compact())
    assert compact.steps == recipe.steps
    assert compact.coder == recipe.coder


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("steps: [{id: prune, keep: 0}]", r"x.yaml: steps.0.prune.keep"),
        ("steps: [{id: prune, keep: 1.5}]", r"steps.0.prune.keep"),
        ("steps: [{id: prune}]", "either keep"),
        ("steps: [{id: prune, keep: 0.1, quality: 1}]", "either keep"),
        ("steps: [{id: prone, keep: 0.1}]", "steps.0"),
        ("steps: [{id: store, bits: 17}]", "steps.0.store.codebook.bits"),
        ("steps: [{id: train, train: {epochs: 1, lr: -1}}]", "steps.0.train.train.lr"),
        ("coder: zip", "coder"),
        ("steps: [{id: quantize, inputs: synthetic, augment: flip}]", "synthetic inputs are not moved"),
        ("steps: [{id: quantize, inputs: synthetic, examples: 0}]", "synthetic inputs are not moved"),
        ("steps: [{id: quantize, trellis: 5}]\ncoder: range", "steps.0.quantize.trellis"),
        ("steps: [{id: quantize, trellis: 32}]\ncoder: rans", "step 1 rounds along a trellis"),
        ("steps: [{id: distill, train: {epochs: 1}, teacher: {mixup: 0.5}}]", "mixup is of views"),
        (
            "steps: [{id: distill, train: {epochs: 1}, teacher: {views: 2, hint: {}}}]",
            "at every step; drop them, or views",
        ),
        ("colour: red", "colour"),
        ("- a\n- b", "a recipe is a table"),
        ("a: [", "not valid YAML"),
        ("!!python/object/apply:os.system ['true']", "not valid YAML"),
    ],
)
def test_what_is_wrong_is_said_with_file_and_key(text, sentence):
    with pytest.raises(TersenetError, match=sentence):
        parse(text, "x.yaml")


def test_under_another_coder_a_recipe_goes_without_a_trellis():
    recipe = load_recipe("oneshot")
    assert recipe.steps[0].trellis and recipe.with_coder("range") == recipe
    changed = recipe.with_coder("rans")
    assert changed.coder == "rans" and changed.steps[0].trellis == 0
    assert Recipe.model_validate(changed.model_dump()) == changed


def test_unknown_recipes_are_refused_with_the_nearest(tmp_path):
    with pytest.raises(TersenetError, match="did you mean han2016"):
        load_recipe("hna2016")
    with pytest.raises(TersenetError, match="cannot be read"):
        load_recipe(tmp_path / "none.yaml")


def test_settings_reach_the_steps_that_take_them_and_are_refused_elsewhere():
    recipe = load_recipe("han2016").with_settings(bits={"*": 3}, keep={"ip*": 0.5, "*": 0.1})
    assert recipe.steps[0].keep == {"ip*": 0.5, "*": 0.1}
    assert recipe.steps[1].bits == {"*": 3}
    with pytest.raises(TersenetError, match="no step that takes keep"):
        load_recipe("share-code").with_settings(keep={"*": 0.5})


def test_the_page_on_recipes_names_every_step_and_its_examples_are_some():
    page = (Path(__file__).parents[2] / "docs" / "recipes.md").read_text()
    examples = [parse(text, "recipes.md") for text in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)]
    assert [example.name for example in examples] == ["mine", *["recipes"] * 4]
    assert set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) == set(
        schema()["properties"]["steps"]["items"]["discriminator"]["mapping"]
    )


def test_a_schema_for_editors_names_every_step():
    text = str(schema())
    assert all(word in text for word in ("prune", "store", "round", "iterations", "huffman"))


def test_one_shot_asks_for_data_and_what_needs_none_does_not():
    assert load_recipe("oneshot").trains
    assert not load_recipe("weights-only").trains and not load_recipe("data-free").trains


def test_a_gentler_quantize_is_finer_until_there_is_nothing_finer():
    step = load_recipe("oneshot").steps[0]
    seen = [step.quality]
    while (step := step.gentler()) is not None:
        seen.append(step.quality)
    assert seen == sorted(set(seen))
    assert seen[-1] == 100
