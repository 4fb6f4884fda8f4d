"""Every number on the page is the record's; names are text; the page loads nothing."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from tersenet.errors import TersenetError
from tersenet.report import write
from tersenet.report.page import page
from tersenet.report.record import read_record

# The kinds of values that costs are made of.
COST = {
    "macs_dense": 1, "energy_uj": 0.5, "power_w": 1.0, "fits": "L1", "caches": {"l1_bytes": 1}, "rate_hz": 20.0,
    "latency": {"torch": {"median_ms": 1.0, "frames_per_s": 2.0}}, "layers": [{"name": "fc", "weights": 2}],
    "activation_peak_layer": "fc", "refused": "why",
}  # fmt: skip
Edit = Callable[[Callable[[dict[str, Any]], Any]], None]
# Elements without an end tag in HTML.
VOID = {"meta", "link", "br", "hr", "img", "input"}


class Page(HTMLParser):
    """The tags, attributes and texts of a page; fails on a tag that is closed wrongly."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.texts: list[str] = []
        self.tags: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"<{tag}> has an attribute twice: {names}"
        self.tags.append(tag)
        self.attributes.extend((tag, name, value or "") for name, value in attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-1:]}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.texts.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.texts))


def drawn(run_dir: Path) -> str:
    path = run_dir.parent / "report.html"
    write(run_dir, path)
    return path.read_text(encoding="utf-8")


def record_of(run_dir: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run_dir / "run.json").read_text())
    return found


def replaced_by(other: dict[str, Any]) -> Callable[[dict[str, Any]], None]:
    """An edit that leaves nothing of the record that was there."""

    def replace(record: dict[str, Any]) -> None:
        record.clear()
        record.update(other)

    return replace


def rows_of(html: str, section: str) -> list[list[str]]:
    """The cells of each table row in a section, as plain text."""
    inside = html.split(f'<section id="{section}"')[1].split("</section>")[0]
    cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in re.findall(r"<tr>(.*?)</tr>", inside)]
    return [[re.sub(r"<[^>]*>", "", cell).strip() for cell in row] for row in cells]


def test_the_four_numbers_come_first_and_are_the_records(run_dir: Path) -> None:
    html = drawn(run_dir)
    length = (run_dir / "result.terse").stat().st_size
    tiles = Page(html.split('class="tiles">')[1].split("<nav")[0].rsplit("</div>", 1)[0]).text
    assert html.index('class="tiles"') < html.index("<h2")
    assert f"1.97 kB → {length} B" in tiles and f"{1968 / length:.1f}× smaller" in tiles
    assert f"1,968 → {length} bytes" in tiles
    assert "93.42 % → 93.01 %" in tiles and "0.41 points lost" in tiles and "test set, 5,678 examples" in tiles
    assert "48.0 k → 6.00 k" in tiles and "8.0× fewer" in tiles and "48,000 → 6,000" in tiles
    assert "Latency not measured" in tiles


def test_sections_come_in_the_order_of_the_questions(run_dir: Path) -> None:
    ids = re.findall(r'<section id="([a-z-]+)"', drawn(run_dir))
    assert ids == ["in-and-out", "bytes", "layers", "costs", "weights", "curves", "ledger", "recipe", "stages"]


def test_what_came_in_and_out_is_told(run_dir: Path) -> None:
    text = Page(drawn(run_dir)).text
    for said in (
        "tiny net",
        "492",
        "1,968 bytes",
        "test machine, 2 cores",
        "Seed 7",
        "91.25 %",
        "91.75 %",
        "0.50 points lost",
    ):
        assert said in text


def test_the_waterfall_goes_from_float32_through_the_stages_to_the_file(run_dir: Path) -> None:
    inside = drawn(run_dir).split('<section id="bytes"')[1].split("</section>")[0]
    said = re.findall(r"<title>(.*?)</title>", inside)
    length = (run_dir / "result.terse").stat().st_size
    assert [one.split(",")[0] if i else one[:22] for i, one in enumerate(said)] == [
        "Original: 1,968 bytes,",
        "After prune 1/1: 411 bytes",
        "After share: 237 bytes",
        f"After Huffman coding: {length} bytes",
    ]
    widths = [float(one) for one in re.findall(r'class="bar[^"]*" width="([\d.]+)%"', inside)]
    assert widths == pytest.approx([100, 100 * 411 / 1968, 100 * 237 / 1968, 100 * length / 1968], abs=0.001)


def test_the_ledger_shown_adds_up_to_the_files_length(run_dir: Path) -> None:
    html = drawn(run_dir)
    rows = rows_of(html, "ledger")
    body, foot = rows[1:-1], rows[-1]
    length = (run_dir / "result.terse").stat().st_size
    assert [row[0] for row in body] == [row["name"] for row in record_of(run_dir)["final"]["ledger"]]
    assert sum(int(row[4].replace(",", "")) for row in body) == length == int(foot[1].replace(",", ""))
    assert "rows add up to the length of the file" in html


def test_a_ledger_that_does_not_add_up_is_called_out(run_dir: Path, edit: Edit) -> None:
    edit(lambda record: record["final"]["ledger"].pop())
    html = drawn(run_dir)
    assert "but the length of the file is" in html and "rows add up to the length of the file" not in html


def test_the_layer_table_has_the_papers_columns(run_dir: Path) -> None:
    head, weight, bias, total = rows_of(drawn(run_dir), "layers")
    assert head[1:4] == ["Weights", "Weights kept", "Weight bits"] and len(head) == len(weight) == len(total) == 15
    assert weight == [
        "fc.weight sparse(codebook)", "480", "12.50 %", "2", "1.75", "8", "5.50",
        "6.4×", "21.1×", "25.6×", "7.7×", "6.0×", "31", "+9", "75",
    ]  # fmt: skip
    assert bias[1:3] == ["12", "100.00 %"]
    # Bits are means over the 72 stored weights, rates those of the summed bits.
    assert total == [
        "Total", "492", "14.63 %", "7", "6.79", "8", "4.58", "5.7×", "14.2×", "15.7×", "3.6×", "3.3×", "79", "+9", "125",
    ]  # fmt: skip


def test_a_total_that_is_given_is_the_one_shown(run_dir: Path, edit: Edit) -> None:
    def give(record: dict[str, Any]) -> None:
        rows = record["final"]["table"]
        record["final"]["table"] = {"rows": rows, "total": dict(rows[0], name="total", form="", weights=999)}

    edit(give)
    rows = rows_of(drawn(run_dir), "layers")
    assert [row[1] for row in rows[1:]] == ["480", "12", "999"]


def test_where_the_network_got_smaller_the_table_says_what_its_rates_are_of(run_dir: Path, edit: Edit) -> None:
    assert "Rates count" not in drawn(run_dir)
    edit(lambda record: record["final"].update(cost={"before": {"parameters": 5000}, "after": {"parameters": 492}}))
    assert "Rates count the 492 parameters that the network has now; the original had 5,000." in drawn(run_dir)


def test_curves_show_each_epoch_and_each_stage(run_dir: Path) -> None:
    inside = drawn(run_dir).split('<section id="curves"')[1].split("</section>")[0]
    said = re.findall(r"<title>(.*?)</title>", inside)
    for one in (
        "epoch 1, training: 0.9",
        "epoch 2, validation: 0.65",
        "epoch 3, training: 90 %",
        "epoch 3, validation: 89 %",
    ):
        assert one in said
    assert said.count("prune 1/1") == said.count("share") == 2
    assert len([one for one in said if one.startswith("epoch")]) == 12
    assert inside.count('class="boundary"') == 2


def test_recipe_and_notes_are_there_as_text(run_dir: Path) -> None:
    text = Page(drawn(run_dir)).text
    assert '- id: prune where: "*" keep: {"op:conv*": 0.37, "*": 0.125}' in text
    assert "coder: huffman" in text and "null" not in text
    assert "Notes of stage 2, share fc.weight: 4 values are enough" in text
    assert "1 min 15 s" in text and "3.2 s" in text


HOSTILE = "</style></title><script>alert(1)</script><img src=\"http://x.test/a\" onerror='alert(2)'>&amp;\u202e"


def test_hostile_names_are_text_everywhere(run_dir: Path, edit: Edit) -> None:
    def poison(record: dict[str, Any]) -> None:
        def everywhere(value: Any) -> Any:
            if isinstance(value, dict):
                return {key: everywhere(inner) for key, inner in value.items()}
            if isinstance(value, list):
                return [everywhere(inner) for inner in value]
            return HOSTILE if isinstance(value, str) else value

        files = [stage["file"] for stage in record["stages"]]
        clean = copy.deepcopy(record)
        record.clear()
        record.update(everywhere(clean))
        record["recipe"][HOSTILE] = HOSTILE
        record["recipe"]["steps"][0]["keep"] = {HOSTILE: 0.5}
        record["stages"][0]["file"] = files[0]

    edit(poison)
    html = drawn(run_dir)
    parsed = Page(html)
    assert "script" not in parsed.tags and "img" not in parsed.tags
    assert not [name for _, name, _ in parsed.attributes if name.startswith("on")]
    assert "\u202e" not in html
    assert parsed.text.count("<script>alert(1)</script>") > 20


def test_nothing_is_loaded_from_anywhere(run_dir: Path) -> None:
    html = drawn(run_dir)
    parsed = Page(html)
    loaders = [
        (tag, name, value) for tag, name, value in parsed.attributes if name in ("src", "href", "srcset", "data")
    ]
    assert loaders and all(value.startswith(("#", "data:")) for _, _, value in loaders)
    assert "://" not in html and "url(" not in html and "@import" not in html
    assert "default-src 'none'" in html


def test_the_page_is_well_formed_and_its_ids_and_headings_are_in_order(run_dir: Path) -> None:
    parsed = Page(drawn(run_dir))
    ids = [value for _, name, value in parsed.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    targets = [value[1:] for _, name, value in parsed.attributes if name == "href" and value.startswith("#")]
    assert targets and set(targets) <= set(ids)
    assert parsed.tags.count("h1") == 1 and ("html", "lang", "en") in parsed.attributes
    charts = [tag for tag, name, value in parsed.attributes if tag == "svg" and (name, value) == ("role", "img")]
    labels = [value for tag, name, value in parsed.attributes if tag == "svg" and name == "aria-label"]
    assert charts and len(labels) == len(charts) and all(labels)


def test_an_unfinished_run_says_so_and_shows_what_is_there(run_dir: Path, edit: Edit) -> None:
    (run_dir / "result.terse").unlink()
    edit(lambda record: record.update(final={"original": record["final"]["original"]}, stages=record["stages"][:1]))
    text = Page(drawn(run_dir)).text
    assert "Unfinished." in text and "After prune 1/1" in text and "60 of 480 kept" in text
    assert "if the run ended here" in text and "405 bytes" in text
    assert "Size so far 1.97 kB → 405 B" in text
    assert "91.75 % → 91.25 %" in text and "no result yet" in text


def test_a_run_stopped_before_its_first_stage_is_drawn(run_dir: Path, edit: Edit) -> None:
    edit(lambda record: record.update(final={}, stages=[]))
    text = Page(drawn(run_dir)).text
    assert "Unfinished." in text and "No stored weights can be shown" in text and "No stage trained" in text


def test_a_stage_that_was_undone_is_marked_and_left_out_of_the_waterfall(run_dir: Path, edit: Edit) -> None:
    edit(lambda record: record["stages"][0].update(rejected=True))
    html = drawn(run_dir)
    assert "After prune 1/1" not in html and 'class="badge">undone' in html and 'class="undone"' in html


def test_a_record_without_optional_keys_reads_not_measured(run_dir: Path, edit: Edit) -> None:
    edit(replaced_by({"source": "bare", "stages": [{}], "final": {"file_bytes": 10}}))
    text = Page(drawn(run_dir)).text
    assert text.count("not measured") >= 6 and "bare" in text


@pytest.mark.parametrize(
    "junk",
    [None, [], {}, "x", -1, True, 1e999, 10**400, float("nan"), [[1]], [None], {"a": None}],
    ids=lambda junk: repr(junk)[:9],
)
def test_values_of_a_wrong_kind_do_not_break_the_page(run_dir: Path, edit: Edit, junk: Any) -> None:
    def replace_leaves(value: Any) -> Any:
        if isinstance(value, dict) and value:
            return {key: replace_leaves(inner) for key, inner in value.items()}
        if isinstance(value, list) and value:
            return [replace_leaves(inner) for inner in value]
        return junk

    edit(lambda record: record["final"].update(cost={"before": COST, "after": COST}))
    for key in ("source", "recipe", "stages", "final", "parameters", "original_bytes"):
        clean = record_of(run_dir)
        edit(replaced_by(clean | {key: junk}))
        Page(page(read_record(run_dir)))
        edit(replaced_by(clean | {key: replace_leaves(clean[key])}))
        Page(page(read_record(run_dir)))
        edit(replaced_by(clean))


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (1.5, 0.5, "1.5 → 0.5 ms 3.0× faster"),
        (1.0, 2.0, "1 → 2 ms 2.0× slower"),
        (1.0, 0.95, "1 → 0.95 ms no clear change"),
    ],
)
def test_latency_is_shown_where_it_was_measured(
    run_dir: Path, edit: Edit, before: float, after: float, said: str
) -> None:
    def add(record: dict[str, Any]) -> None:
        times = {"original": before, "result": after}
        record["final"]["latency"] = {
            which: {"median_ms": ms, "min_ms": 0.4, "spread": 0.1, "repeats": 30} for which, ms in times.items()
        }

    edit(add)
    text = Page(drawn(run_dir)).text
    assert said in text and "median of 30 calls, one example on one thread" in text


def test_the_metric_of_the_user_decides_where_there_is_one(run_dir: Path, edit: Edit) -> None:
    def add(record: dict[str, Any]) -> None:
        record["final"]["test"]["metric"] = 0.75
        record["final"]["original"]["test"]["metric"] = 0.5

    edit(add)
    assert "Metric 0.5000 → 0.7500 25.00 points gained" in Page(drawn(run_dir)).text


def test_a_folder_without_a_record_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TersenetError, match=r"no run\.json"):
        write(tmp_path, tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize("text", ["", "{", "[1]", "\xff", "[" * 100_000, '{"a": ' + "1" * 5000 + "}"])
def test_a_record_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_bytes(text.encode("latin-1"))
    try:
        write(tmp_path, tmp_path / "report.html")
    except TersenetError as error:
        assert "run.json" in str(error)
    else:
        # Older interpreters read integers of any length; then it is a record without anything known.
        assert text.startswith('{"a"') and (tmp_path / "report.html").exists()


def test_a_target_that_cannot_be_written_is_refused_and_leaves_nothing(run_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(TersenetError, match="cannot be written"):
        write(run_dir, tmp_path / "absent" / "report.html")
