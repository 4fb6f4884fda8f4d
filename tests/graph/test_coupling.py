"""What leaves together is what another library, which follows autograd instead of an op list, takes together."""

import copy

import pytest
import torch
from structures import HARD
from torch import nn

from tersenet import zoo
from tersenet.graph import capture, coupled_groups, remove_channels


def theirs(model: nn.Module, example: torch.Tensor, layer: str, rows: list[int]) -> dict[str, tuple[int, ...]]:
    """The shapes that Torch-Pruning (Fang et al. 2023, arXiv:2301.12900) leaves without these rows of a layer."""
    tp = pytest.importorskip("torch_pruning")
    model = copy.deepcopy(model)
    graph = tp.DependencyGraph().build_dependency(model, example_inputs=example)
    module = model.get_submodule(layer)
    function = tp.prune_conv_out_channels if isinstance(module, nn.Conv2d) else tp.prune_linear_out_channels
    graph.get_pruning_group(module, function, idxs=rows).prune()
    state = model.state_dict()
    return {name: tuple(tensor.shape) for name, tensor in state.items() if not name.endswith("num_batches_tracked")}


# Left out is what Torch-Pruning 1.6 cuts otherwise: pads along the channels (the stream of ResNet-20), several channels
# for each one that a depthwise layer reads, slices of a concatenation.
@pytest.mark.parametrize(
    "name, count",
    [
        ("chain", 3),
        ("residual", 2),
        ("branches", 4),
        ("grouped", 3),
        ("squeeze_excite", 2),
        ("normalised", 2),
        ("resnet20", 9),
        ("mobilenet_v2", 25),
    ],
)
def test_torch_pruning_takes_the_same_channels(name, count):
    torch.manual_seed(0)
    if name in HARD:
        model, (example,) = HARD[name][0]().eval(), HARD[name][1]
    else:
        model, (example,) = zoo.network(name).eval(), zoo.example_inputs(name)
    network = capture(model, example)
    groups = [group for group in coupled_groups(network) if not group.fixed and "conv1" not in group.layers]
    assert len(groups) == count
    for group in groups[:: max(1, count // 6)]:
        keep = torch.ones(group.size, dtype=torch.bool)
        keep[[1, group.size - 1]] = False
        masks, layer = group.masks(keep), group.layers[0]
        smaller = remove_channels(network, masks)
        rows = torch.nonzero(~masks[layer]).flatten().tolist()
        ours = {key: tuple(tensor.shape) for key, tensor in smaller.state_dict().items()}
        assert ours == theirs(model, example, layer, rows)
