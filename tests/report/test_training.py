"""The page of a training: what its record says is on it, whatever it leaves out is said, nothing in it is trusted."""

from __future__ import annotations

import base64
import json
import re
import xml.etree.ElementTree as ET

import pytest

from tersenet.errors import TersenetError
from tersenet.report import write
from tersenet.report.confusion import common, draw

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n and so on").decode()


def epoch(number, loss):
    return {
        "epoch": number, "train_loss": loss, "train_accuracy": 0.5, "validation_loss": loss + 0.125,
        "validation_accuracy": 0.4375, "lr": 0.1 / number, "seconds": 2.0,
    }  # fmt: skip


@pytest.fixture
def training():
    return {
        "source": "tiny net", "data": "cats and dogs", "seed": 3, "machine": "a machine", "parameters": 1234,
        "weights": "w.safetensors", "bytes": 5678,
        "config": {"epochs": 9, "loss": "cross_entropy", "lr": 0.1, "affine": {"degrees": 3.0}},
        "history": {"epochs": [epoch(1, 0.75), epoch(2, 0.5)], "best_epoch": 1},
        "scores": {"validate": None, "test": {"accuracy": 0.8125, "loss": 0.4321, "examples": 48}},
        "examined": {
            "part": "test", "classes": ["cat", "dog"], "confusion": [[30, 2], [7, 9]],
            "worst": [
                {"index": 1041, "loss": 3.25, "true": 1, "predicted": 0, "picture": PNG},
                {"index": 7, "loss": 0.71, "true": 0, "predicted": 0, "picture": PNG},
            ],
        },
    }  # fmt: skip


@pytest.fixture
def page(tmp_path):
    def page(record):
        (tmp_path / "train.json").write_text(record if isinstance(record, str) else json.dumps(record))
        write(tmp_path, tmp_path / "page.html")
        return (tmp_path / "page.html").read_text()

    return page


def test_every_number_of_the_record_is_on_the_page(page, training):
    html = page(training)
    said = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", html))
    for text in (
        "tiny net trained on cats and dogs", "81.25 %", "test set, 48 examples", "0.4321", "1,234", "5,678 bytes",
        "stopped before 9", "the state of epoch 1 was kept", "4.0 s in all", "39 of 48 right on the test part",
        "30", "93.8 %", "56.2 % of 16", "loss 3.25", "no. 1,041", "cat, right", "a machine", '{"degrees": 3.0}'.replace('"', "&quot;"),
        "dog taken for cat: 7 of 16",
    ):  # fmt: skip
        assert text in said, text
    assert html.count(f'src="data:image/png;base64,{PNG}"') == 2
    for title in ("Loss over 2 epochs; training from 0.75 to 0.5", "Accuracy over 2", "Learning rate over 2"):
        assert title in html
    assert "<script" not in html and "http-equiv" in html


@pytest.mark.parametrize("gone", ["config", "history", "scores", "examined", "data", "bytes", "parameters", "seed"])
@pytest.mark.parametrize("instead", ["nothing", None, [], {}, "x", -1, 1e400])
def test_whatever_is_missing_or_not_what_it_should_be_leaves_a_page(page, training, gone, instead):
    if instead == "nothing":
        del training[gone]
    else:
        training[gone] = instead
    assert page(training).endswith("</html>\n")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("confusion", [[1, 2], [3]]), ("confusion", [[1, -2], [3, 4]]), ("confusion", "x"), ("confusion", [[]]),
        ("classes", ["cat"]), ("classes", None), ("classes", [{}, []]), ("worst", [{}, 3, {"index": 1}]), ("worst", None),
    ],
    ids=repr,
)  # fmt: skip
def test_what_was_examined_may_be_anything(page, training, key, value):
    training["examined"][key] = value
    assert page(training).endswith("</html>\n")


def test_names_and_pictures_cannot_bring_code_into_the_page(page, training):
    evil = "<script>alert(1)</script>"
    training["examined"]["classes"] = [evil, '"onload="x']
    training["examined"]["worst"][0]["picture"] = PNG + '" onerror="alert(1)'
    training["source"] = training["data"] = training["config"]["loss"] = evil
    html = page(training)
    assert "<script" not in html and "onerror" not in html and '"onload' not in html


def test_examples_that_are_no_pictures_come_in_a_table(page, training):
    training["examined"]["worst"][1]["picture"] = ""
    html = page(training)
    assert "<img" not in html and '<td class="n">1,041</td><td>dog</td><td>cat</td><td class="n">3.25</td>' in html


@pytest.mark.parametrize("text", ["", "[]", "{", "3", "\x00"])
def test_a_file_that_is_no_record_is_refused(page, text):
    with pytest.raises(TersenetError, match=r"train\.json: "):
        page(text)


@pytest.mark.parametrize("size", [1, 2, 10, 16, 17, 60])
def test_the_matrix_is_one_svg_with_a_cell_for_each_pair(size):
    counts = [[(row * column) % 5 for column in range(size)] for row in range(size)]
    svg = draw(counts, [f"class <{place}> with a name that does not end" for place in range(size)], alone=True)
    tree = ET.fromstring(svg)
    spaces = {"s": "http://www.w3.org/2000/svg"}
    titles = [title.text for title in tree.findall("s:g/s:title", spaces)]
    assert len(titles) == size * size and "class <0>" in titles[0]
    assert len(tree.findall("s:g/s:rect[@class='right']", spaces)) == sum(
        counts[place][place] > 0 for place in range(size)
    )
    right = max(float(text.get("x")) for text in tree.iter("{http://www.w3.org/2000/svg}text"))
    assert right < float(tree.get("width"))


def test_a_row_without_examples_has_no_shares():
    svg = draw([[0, 0], [0, 5]], ["a", "b"])
    assert "no example" in svg and "100 % of 5" in svg and "nan" not in svg


def test_a_share_just_short_of_all_is_not_called_all():
    assert "&gt;99.9 % of 10,001" in draw([[10_000, 1], [0, 5]], ["a", "b"])


def test_the_commonest_confusions_come_first_and_many_classes_are_listed_by_them(page, training):
    assert common([[5, 2, 0], [3, 9, 2], [0, 1, 0]], 3) == [(3, 1, 0), (2, 0, 1), (2, 1, 2)]
    size = 61
    counts = [[0] * size for _ in range(size)]
    counts[60][59] = 12
    training["examined"] |= {"confusion": counts, "classes": [f"kind {place}" for place in range(size)]}
    html = page(training)
    assert '<td>kind 60</td><td>kind 59</td><td class="n">12</td>' in html and 'class="confusion"' not in html
