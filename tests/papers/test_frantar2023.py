"""Post-training quantization: what was found keeps its claims, and a part is found again."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from tersenet import artifact
from tersenet.container import decode
from tersenet.training.evaluate import evaluate

PAPER = Path(__file__).parents[2] / "papers" / "frantar2023_gptq"
EXPECTED = json.loads((PAPER / "expected.json").read_text())
ALLOWED = {"uniform 8": 0.1, "uniform 4": 1.0, "codebook 3": 2.0}
MEASURED = [
    (name, key.removesuffix(" feedback")) for name in EXPECTED for key in EXPECTED[name]["rows"] if "feedback" in key
]


def _run():
    spec = importlib.util.spec_from_file_location("frantar2023_run", PAPER / "run.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("name", "way"), [one for one in MEASURED if one[1] in ALLOWED])
def test_feedback_loses_no_more_than_claimed_within_minutes(name, way):
    rows = EXPECTED[name]["rows"]
    assert rows["dense"]["test"] - rows[f"{way} feedback"]["test"] <= ALLOWED[way] + 1e-9
    assert rows[f"{way} feedback"]["seconds"] < 600


@pytest.mark.parametrize(
    ("name", "way"), [one for one in MEASURED if one[1] in ("uniform 4", "codebook 3", "codebook 2")]
)
def test_feedback_is_far_above_nearest_values_at_about_the_same_bytes(name, way):
    near, fed = (EXPECTED[name]["rows"][f"{way} {how}"] for how in ("nearest", "feedback"))
    lost = [EXPECTED[name]["rows"]["dense"]["test"] - one["test"] for one in (near, fed)]
    assert lost[0] > 3 * max(lost[1], 0.1)
    assert fed["bytes"] < 1.1 * near["bytes"]


@pytest.mark.parametrize("name", [name for name, way in MEASURED if way == "integers 8"])
def test_inputs_on_integers_lose_little_and_the_runtime_scores_as_torch_does(name):
    rows = EXPECTED[name]["rows"]
    found = rows["integers 8 feedback"]
    assert rows["dense"]["test"] - found["test"] <= 0.1
    assert abs(found["test"] - found["runtime_test"]) <= 0.1


@pytest.mark.slow
def test_one_row_is_found_again(data_dir, monkeypatch, tmp_path):
    monkeypatch.setenv("TERSENET_DATA", str(data_dir))
    run = _run()
    net, data = run.dense("resnet20")
    file = run.stored(net, data.train, run.WAYS["codebook 3"], run.IMAGES, tmp_path / "run")
    found = EXPECTED["resnet20"]["rows"]["codebook 3 feedback"]
    assert len(file) == pytest.approx(found["bytes"], rel=0.02)
    score = evaluate(artifact.from_contents(decode(file, max_bytes=1 << 28)), data.test)
    assert 100 * score.accuracy == pytest.approx(found["test"], abs=0.5)
