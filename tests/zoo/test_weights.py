"""Laws of loading weights: all or nothing, names in the sentence, nothing in the file is run."""

import pickle
import warnings

import pytest
import torch
from safetensors.torch import save_file

from tersenet.zoo import load_weights, network
from tersenet.zoo.weights import WeightsError, dequantize, read_tensors


@pytest.fixture
def good() -> dict[str, torch.Tensor]:
    return {k: torch.full_like(v, 0.5) for k, v in network("mlp").state_dict().items()}


def loaded(path):
    return load_weights(network("mlp"), path).state_dict()


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_safetensors_go_in_bit_for_bit(tmp_path, good):
    save_file(good, tmp_path / "w.safetensors")
    assert same(loaded(tmp_path / "w.safetensors"), good)


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".th"])
@pytest.mark.parametrize("prefix", ["", "module.", "model.", "model.module."])
@pytest.mark.parametrize("wrapped", [False, True])
def test_checkpoints_go_in_with_or_without_wrappers(tmp_path, good, suffix, prefix, wrapped):
    tensors = {prefix + name: tensor for name, tensor in good.items()}
    path = tmp_path / f"w{suffix}"
    torch.save({"state_dict": tensors, "epoch": 3} if wrapped else tensors, path)
    assert same(loaded(path), good)


def test_a_prefix_that_the_network_itself_uses_stays(tmp_path):
    model = torch.nn.ModuleDict({"model": torch.nn.Linear(2, 2)})
    save_file({k: v + 1 for k, v in model.state_dict().items()}, tmp_path / "w.safetensors")
    before = model["model"].weight.clone()
    load_weights(model, tmp_path / "w.safetensors")
    assert torch.equal(model["model"].weight, before + 1)


def test_half_precision_is_widened(tmp_path, good):
    save_file({k: v.to(torch.bfloat16) for k, v in good.items()}, tmp_path / "w.safetensors")
    assert same(loaded(tmp_path / "w.safetensors"), good)


def test_a_mismatch_names_missing_unexpected_and_wrong_shapes_and_changes_nothing(tmp_path, good):
    del good["fc1.bias"]
    good["extra"] = torch.zeros(1)
    good["fc2.weight"] = torch.zeros(2, 3)
    save_file(good, tmp_path / "w.safetensors")
    model = network("mlp")
    before = {k: v.clone() for k, v in model.state_dict().items()}
    with pytest.raises(WeightsError) as error:
        load_weights(model, tmp_path / "w.safetensors")
    sentence = str(error.value)
    assert "missing: fc1.bias" in sentence and "unexpected: extra" in sentence
    assert "fc2.weight is 2x3 where 80x120 is expected" in sentence and "\n" not in sentence
    assert same(model.state_dict(), before)


def test_many_mismatches_are_counted_after_a_handful(tmp_path):
    save_file({f"t{i}": torch.zeros(1) for i in range(50)}, tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match="and 45 more"):
        loaded(tmp_path / "w.safetensors")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_weights_that_are_not_finite_are_refused_by_name(tmp_path, good, value, suffix):
    good["fc3.bias"][7] = value
    path = tmp_path / f"w{suffix}"
    save_file(good, path) if suffix == ".safetensors" else torch.save(good, path)
    with pytest.raises(WeightsError, match=r"fc3\.bias holds NaN or inf"):
        loaded(path)


def test_whole_numbers_where_floats_belong_are_refused(tmp_path, good):
    good["fc3.bias"] = torch.zeros(10, dtype=torch.int8)
    save_file(good, tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match=r"fc3\.bias is torch\.int8"):
        loaded(tmp_path / "w.safetensors")


def test_sparse_tensors_are_refused(tmp_path, good):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        good["fc3.weight"] = good["fc3.weight"].to_sparse()
        torch.save(good, tmp_path / "w.pt")
        with pytest.raises(WeightsError, match="sparse"):
            loaded(tmp_path / "w.pt")


class Trap:
    """Unpickled by a plain pickle, it leaves a mark."""

    fired = False

    def __reduce__(self):
        return (setattr, (Trap, "fired", True))


def test_a_whole_network_is_refused_with_the_code_it_asks_for_and_no_advice_to_run_it(tmp_path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "w.pt")
    with pytest.raises(WeightsError, match=r"it asks for torch.nn.modules.linear.Linear, which is code") as refused:
        loaded(tmp_path / "w.pt")
    assert str(refused.value).isprintable() and "trust" not in str(refused.value)


def test_a_pickle_that_wants_to_run_something_is_refused_and_does_not_run(tmp_path):
    torch.save({"state_dict": {"fc1.weight": Trap()}}, tmp_path / "w.pt")
    (tmp_path / "raw.pth").write_bytes(pickle.dumps(Trap(), 2))
    for name in ("w.pt", "raw.pth"):
        with pytest.raises(WeightsError, match="plain weights"):
            loaded(tmp_path / name)
    assert not Trap.fired
    pickle.loads((tmp_path / "raw.pth").read_bytes())
    assert Trap.fired  # the trap can fire
    Trap.fired = False


@pytest.mark.parametrize("content", [[1, 2], {"a": 3}, {3: torch.zeros(1)}, {}, {"state_dict": {}}], ids=str)
def test_a_checkpoint_of_something_else_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match=r"w\.pt"):
        loaded(tmp_path / "w.pt")


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_a_cut_or_empty_file_is_refused(tmp_path, good, suffix):
    path = tmp_path / f"w{suffix}"
    save_file(good, path) if suffix == ".safetensors" else torch.save(good, path)
    whole = path.read_bytes()
    for length in (0, 1, 7, 8, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(WeightsError, match=str(path.name)):
            loaded(path)


def test_a_missing_file_a_folder_and_a_strange_suffix_are_refused(tmp_path):
    (tmp_path / "w.onnx").write_bytes(b"x")
    for name in ("none.pt", "", "w.onnx"):
        with pytest.raises(WeightsError):
            loaded(tmp_path / name)


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8])
def test_integer_weights_are_level_minus_zero_times_scale(per_channel, dtype):
    level = torch.arange(12).reshape(2, 3, 1, 2).to(dtype)
    scale = torch.tensor([0.5, 2.0]) if per_channel else torch.tensor([0.5])
    zero = torch.tensor([3, 4], dtype=torch.int32) if per_channel else torch.tensor([3], dtype=torch.int32)
    quantized = {"n.weight_q": level, "n.weight_scale": scale, "n.weight_zero": zero, "n.bias": torch.ones(2)}
    got = dequantize(quantized, "f")
    assert got.keys() == {"n.weight", "n.bias"}
    assert got["n.weight"][0, 0, 0].tolist() == [-1.5, -1.0]
    assert got["n.weight"][1, 2, 0, 1] == ((11 - 4) * 2.0 if per_channel else (11 - 3) * 0.5)


def test_incomplete_or_misshapen_integer_weights_are_refused():
    level, one = torch.zeros(2, 3, dtype=torch.uint8), torch.ones(1)
    with pytest.raises(WeightsError, match="lacks weight_scale"):
        dequantize({"n.weight_q": level, "n.weight_zero": one}, "f")
    with pytest.raises(WeightsError, match="3 scales or zeros for 2"):
        dequantize({"n.weight_q": level, "n.weight_zero": one, "n.weight_scale": torch.ones(3)}, "f")
    with pytest.raises(WeightsError, match="uint8 or int8"):
        dequantize({"n.weight_q": level.float(), "n.weight_zero": one, "n.weight_scale": one}, "f")


def test_the_published_checkpoint_equals_its_safetensors_form(data_dir):
    folder = data_dir / "models/cifar10-resnet"
    one = load_weights(network("resnet20"), folder / "resnet20-12fca82f.th").state_dict()
    two = load_weights(network("resnet20"), folder / "resnet20-12fca82f.safetensors").state_dict()
    assert same(one, two)
    with pytest.raises(WeightsError, match=r"missing: layer1\.3\.conv1\.weight"):
        load_weights(network("resnet32"), folder / "resnet20-12fca82f.safetensors")
    assert "module.conv1.weight" in read_tensors(folder / "resnet20-12fca82f.th")


def pruned_state():
    model = network("mlp")
    torch.nn.utils.prune.l1_unstructured(model.fc1, "weight", 0.8)
    torch.nn.utils.prune.l1_unstructured(model.fc1, "weight", 0.5)
    torch.nn.utils.prune.random_unstructured(model.fc2, "bias", 3)
    return model, model.state_dict()


@pytest.mark.parametrize("prefix", ["", "module."])
def test_originals_and_masks_of_pruned_layers_go_in_as_one_weight(tmp_path, prefix):
    model, state = pruned_state()
    save_file({prefix + name: tensor for name, tensor in state.items()}, tmp_path / "w.safetensors")
    got = loaded(tmp_path / "w.safetensors")
    assert torch.equal(got["fc1.weight"], model.fc1.weight)
    assert torch.equal(got["fc2.bias"], model.fc2.bias)
    assert int((got["fc1.weight"] == 0).sum()) == round(0.9 * got["fc1.weight"].numel())
    assert not bool((got["fc1.weight"].signbit() & (got["fc1.weight"] == 0)).any())


def test_a_network_that_is_pruned_itself_takes_originals_and_masks_as_they_are(tmp_path):
    _, state = pruned_state()
    save_file(state, tmp_path / "w.safetensors")
    other, _ = pruned_state()
    assert same(load_weights(other, tmp_path / "w.safetensors").state_dict(), state)


def test_an_original_without_its_mask_and_a_mask_of_another_shape_are_refused(tmp_path):
    _, state = pruned_state()
    save_file({name: tensor for name, tensor in state.items() if name != "fc1.weight_mask"}, tmp_path / "a.safetensors")
    with pytest.raises(WeightsError, match=r"fc1.weight_orig has no fc1.weight_mask beside it"):
        loaded(tmp_path / "a.safetensors")
    save_file(state | {"fc1.weight_mask": torch.ones(3, 4)}, tmp_path / "b.safetensors")
    with pytest.raises(WeightsError, match=r"fc1.weight_mask is 3x4 where 120x784 is expected"):
        loaded(tmp_path / "b.safetensors")
