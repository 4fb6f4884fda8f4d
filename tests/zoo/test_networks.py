"""Laws of the table of networks: sizes as published, forward on any batch, exportable with a free batch."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from tersenet.errors import TersenetError
from tersenet.zoo import ENTRIES, NETWORKS, UnknownNetwork, entry, example_inputs, network
from tersenet.zoo.data import DATASETS

# From the papers or the weight files; every trainable number counts, running statistics do not.
PARAMETERS = {
    "linear": 7_850,
    "mlp": 104_690,
    "lenet_300_100": 266_610,
    "lenet5": 431_080,
    "lenet5_3": 62_006,
    "lenet5_tf": 1_663_370,
    "shallow_mnist": 99_385,
    "shallow_conv_mnist": 99_985,
    "shallow_cifar10": 999_961,
    "shallow_conv_cifar10": 999_980,
    "alexnet": 60_965_224,
    "vgg16": 138_357_544,
    "vgg16_cifar": 14_728_266,
    "resnet20": 269_722,
    "resnet32": 464_154,
    "resnet44": 658_586,
    "resnet56": 853_018,
    "resnet110": 1_727_962,
    "resnet8": 78_186,
    "squeezenet1_0": 1_248_424,
    "mobilenet_v1": 4_222_057,
    "mobilenet_v1_025_128": 467_593,
    "mobilenet_v1_075_192": 2_578_121,
    "mobilenet_v2": 3_489_097,
    "vww_mobilenet": 216_322,
    "ad01_autoencoder": 267_928,
    "stories260k": 260_032,
    "silero_vad": 309_633,
}
# Too large to run here in float: shapes are worked out without numbers.
SHAPES_ONLY = ("alexnet", "vgg16")


def build(name: str) -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    device = "meta" if name in SHAPES_ONLY else "cpu"
    with torch.device(device):
        model = network(name).eval()
    return model, tuple(x.to(device) for x in example_inputs(name, batch=2))


def first(output: torch.Tensor | tuple[torch.Tensor, ...]) -> torch.Tensor:
    return output[0] if isinstance(output, tuple) else output


def test_every_network_of_the_table_has_a_known_size():
    assert PARAMETERS.keys() == NETWORKS.keys() == ENTRIES.keys()


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_has_as_many_parameters_as_published(name):
    with torch.device("meta"):
        assert sum(p.numel() for p in network(name).parameters()) == PARAMETERS[name]


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_answers_a_batch_and_exports_with_a_free_batch(name):
    model, inputs = build(name)
    with torch.no_grad():
        answer = first(model(*inputs))
    line = entry(name)
    assert answer.shape[0] == 2
    if line.classes:
        assert answer.shape[-1] == line.classes
    if name not in SHAPES_ONLY:
        assert answer.isfinite().all()
    batch = torch.export.Dim("batch")
    program = torch.export.export(model, inputs, dynamic_shapes=tuple({0: batch} for _ in inputs))
    assert set(program.state_dict) == set(model.state_dict())
    if name not in SHAPES_ONLY:
        one = tuple(x[:1] for x in inputs)
        with torch.no_grad():
            again = first(program.module()(*one))
            # One image alone may be summed in another order than one of two.
            torch.testing.assert_close(again, first(model(*one)), rtol=0, atol=0)
            torch.testing.assert_close(again, answer[:1], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", NETWORKS)
def test_an_entry_names_a_known_data_set_and_agrees_with_its_preprocessing(name):
    line = entry(name)
    assert line.data is None or line.data in DATASETS
    assert line.description and "\n" not in line.description
    stored = {"imagenet_sample": (3, 256, 256), "cifar10": (3, 32, 32), "mnist": (1, 28, 28)}
    if line.data in stored:
        assert line.preprocess.output_shape(stored[line.data]) == line.input_shape


def test_an_unknown_network_is_refused_with_the_nearest_names():
    with pytest.raises(UnknownNetwork, match="lenet5"):
        network("lenet_5")
    with pytest.raises(UnknownNetwork, match="known are ad01_autoencoder, alexnet"):
        network("~~~~")


def test_an_option_that_a_network_does_not_take_is_refused_with_its_name():
    with pytest.raises(TersenetError, match="width"):
        network("lenet5", width=2)


def test_options_reach_the_constructor():
    assert network("mlp", classes=3).fc3.out_features == 3
    model = network("mobilenet_v1", width=0.25, resolution=100).eval()  # 100, 50, 25, 13, 7, 4: odd sides too
    assert model(torch.zeros(1, 3, 100, 100)).shape == (1, 1000)
    with pytest.raises(TersenetError, match="6n"):
        from tersenet.zoo.resnet import ResNet

        ResNet(21)


def test_the_tables_are_read_without_importing_torch():
    code = (
        "import sys, tersenet.zoo as zoo, tersenet.zoo.data; "
        "zoo.NETWORKS['lenet5'], zoo.data.DATASETS['mnist']; "
        "sys.exit('torch' in sys.modules or 'sklearn' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    loads = "import sys, tersenet.zoo as zoo; zoo.network('linear'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", loads], check=False).returncode == 1


def test_the_shortcut_of_a_cifar_resnet_takes_every_second_pixel_and_pads_channels_on_both_sides():
    from tersenet.zoo.resnet import Block

    x = torch.arange(1, 33, dtype=torch.float32).reshape(1, 2, 4, 4)
    y = Block(2, 4, 2).shortcut(x)
    assert y.shape == (1, 4, 2, 2)
    assert y[0, 0].eq(0).all() and y[0, 3].eq(0).all()
    assert y[0, 1].tolist() == [[1, 3], [9, 11]]


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "expected"),
    [
        (224, 3, 2, (0, 1)),
        (7, 3, 2, (1, 1)),
        (7, 3, 1, (1, 1)),
        (8, 1, 2, (0, 0)),
        (1, 3, 2, (1, 1)),
        (5, 2, 1, (0, 1)),
    ],
)
def test_same_padding_puts_the_odd_pixel_behind(size, kernel, stride, expected):
    from tersenet.zoo._same import same_padding

    assert same_padding(size, kernel, stride) == expected
    assert (size + sum(expected) - kernel) // stride + 1 == -(-size // stride)
