"""A config is data: what does not fit together is refused where it is made."""

import subprocess
import sys

import pytest
from pydantic import ValidationError

from tersenet.training import TrainConfig

BAD = {
    "extra inputs are not permitted": {"epoch": 3},
    "greater than or equal to 0": {"epochs": -1},
    "greater than 0": {"lr": 0},
    "finite number": {"lr": float("inf")},
    "'sgd', 'adam', 'adamw' or 'rmsprop'": {"optimiser": "lion"},
    "nesterov needs optimiser sgd": {"nesterov": True, "optimiser": "adam"},
    "label_smoothing belongs to": {"label_smoothing": 0.1, "loss": "mse"},
    "min_lr 0.2 lies above lr": {"min_lr": 0.2},
    "leave none of 2 at full rate": {"warmup_epochs": 2},
    "augment is none; choose crop": {"augment_pixels": 2},
    "augment is affine; choose crop": {"augment_pixels": 2, "augment": "affine"},
    "augment is flip; choose affine": {"affine": {"degrees": 3}, "augment": "flip"},
    "one_cycle rises by itself": {"schedule": "one_cycle", "warmup_epochs": 1},
    "float16 underflows .* bfloat16 needs none": {"precision": "float16"},
    "'none', 'ema' or 'swa'": {"average": "mean"},
    "has a target but no rate": {"regularise": {"l1": 0.1, "target": 100}},
    "but no factor; set l1, l2, li, lo, polarise or rate": {"regularise": {"where": "fc*"}},
    "with the whole penalty; use fewer": {"regularise": {"l1": 1e-4, "warmup_epochs": 2}},
}


@pytest.mark.parametrize("sentence", BAD)
def test_a_config_that_cannot_be_meant_is_refused(sentence):
    with pytest.raises(ValidationError, match=f"(?i){sentence}"):
        TrainConfig(**{"epochs": 2, **BAD[sentence]})


def test_a_config_survives_being_written_down():
    config = TrainConfig(epochs=2, lr=0.3, regularise={"l1": 1e-5}, augment="shift")
    assert TrainConfig.model_validate(config.model_dump()) == config
    assert TrainConfig.model_validate_json(config.model_dump_json()) == config


def test_every_field_says_what_it_is_or_names_its_choices():
    for name, field in TrainConfig.model_fields.items():
        assert field.description or name in ("optimiser", "schedule", "loss", "regularise"), name


def test_a_config_is_made_without_importing_torch():
    code = (
        "import sys; from tersenet.training import TrainConfig; TrainConfig(epochs=1); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


OLD = {
    "epochs", "batch_size", "optimiser", "lr", "momentum", "nesterov", "weight_decay", "schedule", "warmup_epochs",
    "step_epochs", "gamma", "min_lr", "loss", "label_smoothing", "regularise", "clip_grad_norm", "precision", "augment",
    "augment_pixels", "keep_best",
}  # fmt: skip


def test_newer_fields_are_written_down_only_where_they_say_something():
    """Else checkpoints and run folders from before them would be those of another run."""
    assert set(TrainConfig(epochs=1).model_dump()) == OLD
    config = TrainConfig(epochs=1, average="ema", patience=3)
    assert set(config.model_dump()) - OLD == {"average", "patience"}
    assert TrainConfig.model_validate(config.model_dump()) == config
    assert set(TrainConfig(epochs=1, average="swa").model_dump(exclude_defaults=True)) == {"epochs", "average"}
