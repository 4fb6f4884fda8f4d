"""Whatever a method removes, the smaller network answers as the old one in which the removed channels are silent."""

import functools

import pytest
import torch
from structures import HARD, ZOO, all_of, build, distance, silenced
from torch import Tensor

from tersenet import ir
from tersenet.errors import TersenetError
from tersenet.graph import coupled_groups
from tersenet.methods.channels import (
    Candidate,
    Limits,
    above_deviations,
    candidates,
    keep_operations,
    keep_shares,
    removal_order,
    remove_units,
)
from tersenet.methods.scores import (
    activation_scores,
    batchnorm_scores,
    nonzero_scores,
    norm_scores,
    taylor_scores,
)


def squares(outputs: Tensor | tuple[Tensor, ...], target: Tensor) -> Tensor:
    return sum(one.square().mean() for one in (outputs if isinstance(outputs, tuple) else (outputs,)))


SCORES = {
    "l1": lambda network, example: norm_scores(network, 1),
    "l2": lambda network, example: norm_scores(network, 2),
    "batchnorm": lambda network, example: batchnorm_scores(network),
    "taylor": lambda network, example: taylor_scores(network, [(*example, torch.zeros(1))], squares),
    "activation": lambda network, example: activation_scores(network, [example]),
    "apoz": lambda network, example: nonzero_scores(network, [example]),
}


SMALL = ("lenet5", "resnet20", "vww_mobilenet", "stories260k", "silero_vad")
CASES = [
    *((name, score) for name in HARD for score in SCORES),
    *(
        (name, score) if name in SMALL and score == "l1" else pytest.param(name, score, marks=pytest.mark.slow)
        for name in ZOO
        for score in SCORES
    ),
]


@functools.cache
def chosen(name: str, score: str) -> tuple[list[Candidate], list[Tensor]]:
    """The candidates and what they keep; none where the score reaches none."""
    network, example = build(name)
    try:
        found, _ = candidates(network, "*", SCORES[score](network, example))
    except TersenetError as error:
        assert "keeps its channels" in str(error)
        return [], []
    if score == "apoz":
        return found, above_deviations(found, 0.5, Limits())
    if score == "taylor":
        return found, keep_operations(network, found, removal_order(found, "global", normalise=False), 0.85, Limits())
    return found, keep_shares(network, found, "*", 0.6, Limits())


@pytest.mark.parametrize(("name", "score"), CASES)
def test_a_smaller_network_answers_as_the_silenced_one(name, score):
    network, example = build(name)
    found, keeps = chosen(name, score)
    smaller = remove_units(network, found, keeps)
    assert ir.read(ir.write(smaller.graph)) == smaller.graph
    masks: dict[str, Tensor] = {}
    for group in coupled_groups(network):
        masks |= group.masks(torch.ones(group.size, dtype=torch.bool))
    for one, keep in zip(found, keeps):
        masks |= one.group.masks(keep)
    with torch.no_grad():
        answers, expected = all_of(smaller(*example)), silenced(network, masks)(*example)
    assert distance(answers, expected) < 1e-5


def test_the_law_is_asked_of_networks_that_really_lose_channels():
    def loses(name: str, score: str) -> bool:
        return any(not bool(keep.all()) for keep in chosen(name, score)[1])

    lost = {score: sum(loses(name, score) for name in HARD) for score in SCORES}
    assert min(lost[score] for score in ("l1", "l2", "taylor", "activation")) > 0.6 * len(HARD)
    assert lost["batchnorm"] > 1 and lost["apoz"] > 4, lost
    assert set(SMALL) < set(ZOO)
