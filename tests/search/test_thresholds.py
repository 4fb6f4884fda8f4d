"""A recipe takes each layer's threshold, and what it can not take is said."""

from __future__ import annotations

import pytest
import yaml

from tersenet.errors import TersenetError
from tersenet.recipes import Task, parse, run
from tersenet.search import Point, Sensitivity, recipe_from, sensitivity, with_thresholds
from tersenet.search.thresholds import bits_table, keep_table


def record(*points: tuple[str, str, float, float]) -> Sensitivity:
    """From (method, layer, level, points lost)."""
    return Sensitivity(
        fingerprint="",
        source="",
        measure="accuracy",
        original=1.0,
        examples=1,
        coder="rans",
        batchnorm=False,
        missing=0,
        points=tuple(
            Point(method=m, layers=(n,), level=v, quality=1 - lost / 100, lost_points=lost, bytes_saved=1, seconds=0)
            for m, n, v, lost in points
        ),
    )


PRUNED = (("prune", "hidden", 0.5, 0.1), ("prune", "hidden", 0.2, 3), ("prune", "last", 0.5, 9))
SHARED = (("bits", "hidden", 4, 0.1), ("bits", "hidden", 2, 0.4), ("bits", "last", 4, 0.2))
BOTH = parse("steps: [{id: prune, keep: 0.1, iterations: 2}, {id: store, bits: 8}, {id: round}]", "both.yaml")


def test_each_layer_goes_to_its_threshold_and_one_that_always_loses_more_stays_whole():
    assert keep_table(record(*PRUNED), 0.5) == {"hidden": 0.5, "[l]ast": 1.0}
    assert keep_table(record(*PRUNED), 5) == {"hidden": 0.2, "[l]ast": 1.0}
    assert bits_table(record(*SHARED), 0.5) == {"hidden": 2, "[l]ast": 4}


def test_too_few_bits_are_refused_with_the_most_that_were_measured():
    with pytest.raises(TersenetError, match="'last' loses 0.20 points at 4 bits, the most that was measured; 0.15 are"):
        bits_table(record(*SHARED), 0.15)


def test_a_recipe_keeps_its_steps_and_takes_both_tables():
    changed, unused = with_thresholds(BOTH, record(*PRUNED, *SHARED), 0.5)
    prune, store, rounding = changed.steps
    assert prune.keep == {"hidden": 0.5, "[l]ast": 1.0} and prune.iterations == 2
    assert store.bits == {"hidden": 2, "[l]ast": 4}
    assert rounding == BOTH.steps[2] and unused == []


def test_what_the_user_says_of_a_layer_comes_first_and_of_all_layers_last():
    changed, _ = with_thresholds(BOTH, record(*PRUNED), 0.5, keep={"*": 0.3, "hidden": 0.9}, bits={"*": 6})
    assert list(changed.steps[0].keep.items()) == [("hidden", 0.9), ("[l]ast", 1.0), ("*", 0.3)]
    assert changed.steps[1].bits == {"*": 6}


def test_thresholds_that_a_recipe_has_no_step_for_are_said():
    only = parse("steps: [{id: store, bits: 8}]", "only.yaml")
    changed, unused = with_thresholds(only, record(*PRUNED, *SHARED), 0.5)
    assert changed.steps[0].bits == {"hidden": 2, "[l]ast": 4}
    assert unused == ["thresholds of prune are not used: recipe only has no such step"]


@pytest.mark.parametrize("points", [(), PRUNED, (("channels", "hidden", 0.5, 0),)])
def test_a_recipe_that_takes_nothing_is_refused(points):
    with pytest.raises(TersenetError, match="recipe dense takes nothing that was measured"):
        with_thresholds(parse("steps: [{id: store, form: dense}]", "dense.yaml"), record(*points), 0.5)


def test_a_recipe_made_of_thresholds_names_the_layers_that_were_measured_and_survives_yaml():
    made = recipe_from(record(*PRUNED, *SHARED), 0.5, "mine")
    assert [step.id for step in made.steps] == ["prune", "store"] and made.coder == "rans"
    assert made.steps[0].where == "hidden", "the other layer always loses more"
    assert made.steps[1].where == "hidden,[l]ast"
    assert parse(yaml.safe_dump(made.compact(), sort_keys=False), "mine.yaml") == made


def test_no_recipe_is_made_of_nothing():
    with pytest.raises(TersenetError, match="no layer was measured to lose at most 0.5"):
        recipe_from(record(("channels", "hidden", 0.5, 0.6)), 0.5)


def test_channels_that_may_leave_do_so_in_the_step_of_that_name():
    found = record(("channels", "hidden", 0.5, 0), ("channels", "last", 0.5, 9))
    made = recipe_from(found, 0.5)
    assert [step.id for step in made.steps] == ["channels"] and made.steps[0].keep == {"hidden": 0.5}
    changed, unused = with_thresholds(parse("steps: [{id: channels, flops: 0.5}]", "c.yaml"), found, 0.5)
    assert changed.steps[0].keep == {"hidden": 0.5, "*": 1.0} and changed.steps[0].flops is None and not unused


def test_ranks_go_to_the_step_low_rank_and_other_layers_stay_whole(network, validate, tmp_path):
    found = sensitivity(network, validate, methods=("rank",), levels=(0.5, 0.3), where="hidden,inside")
    assert all(point.bytes_saved > 0 for point in found.points)
    made = recipe_from(found, 100.0)
    assert [step.id for step in made.steps] == ["low_rank"] and set(made.steps[0].keep.values()) == {0.3}
    changed, unused = with_thresholds(parse("steps: [{id: low_rank, rank: vbmf}]", "r.yaml"), found, 100.0)
    assert changed.steps[0].keep == {"inside": 0.3, "hidden": 0.3, "*": 1.0} and not unused
    _, done = run(network, Task(recipe=changed, validate=validate, run_dir=tmp_path))
    whole = [note.split(":")[0] for note in done.stages[0]["notes"] if "left as it is" in note]
    assert whole == ["first", "back", "last"]
    with pytest.raises(TersenetError, match="measure rank without prune and bits"):
        recipe_from(record(("rank", "hidden", 0.5, 0), *PRUNED), 0.5)


def test_a_run_of_the_recipe_leaves_of_each_layer_what_its_threshold_says(network, validate, tmp_path):
    """The fixture has layers called "first" and "last", which as patterns of a recipe are other words."""
    found = sensitivity(network, validate, levels=(0.5, 0.2), bits=(5, 3))
    made = recipe_from(found, 100.0)
    assert set(made.steps[0].keep.values()) == {0.2} and set(made.steps[1].bits.values()) == {3}
    _, done = run(network, Task(recipe=made, validate=validate, run_dir=tmp_path))
    assert len(done.stages) == 2
    from tersenet import load

    small = load(tmp_path / "result.terse")
    for layer in small.weighted_layers():
        weight = small.dense(layer.weight)
        assert int((weight != 0).sum()) == round(0.2 * weight.numel())
        assert len(weight[weight != 0].unique()) <= 8
