"""tersenet sensitivity: how much each layer alone can lose."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tersenet.cli import options
from tersenet.cli.session import Session

if TYPE_CHECKING:
    from tersenet.search import Point, Sensitivity

DEFAULT = Path("sensitivity.json")


def sensitivity(
    session: Session,
    source: options.Source,
    data: options.DataName,
    weights: options.Weights = None,
    methods: Annotated[str, typer.Option("--methods", help="prune, bits, channels, rank, with commas")] = "prune,bits",
    levels: Annotated[
        str | None, typer.Option("--levels", help="shares kept, for prune, channels and rank: '0.5,0.2,0.1'")
    ] = None,
    bits: Annotated[str | None, typer.Option("--bits", help="bits of shared weights, for bits: '8,4,2'")] = None,
    where: Annotated[str, typer.Option("--where", help="patterns of layers, as in recipes")] = "*",
    split: Annotated[str, typer.Option("--split", help="validate, test or train")] = "validate",
    examples: Annotated[
        int | None, typer.Option("--examples", min=2, help="score on so many inputs; all by default")
    ] = None,
    budget: Annotated[
        float | None, typer.Option("--budget", help="seconds after which no other point is begun")
    ] = None,
    tolerance: Annotated[float, typer.Option("--tolerance", help="points a layer alone may lose")] = 0.5,
    metric: options.Metric = None,
    batchnorm: Annotated[
        bool, typer.Option("--batchnorm", help="estimate BatchNorm anew from training inputs after each change")
    ] = False,
    coder: Annotated[
        str, typer.Option("--coder", help="raw, huffman, rans or range: how bytes are counted")
    ] = "huffman",
    output: Annotated[
        Path, typer.Option("--output", "-o", help="where points are kept as they are measured, .json")
    ] = DEFAULT,
    figure: Annotated[
        Path | None, typer.Option("--figure", help="a picture, .svg; of several methods one each, FILE-METHOD.svg")
    ] = None,
    recipe_out: Annotated[
        Path | None, typer.Option("--recipe-out", help="the thresholds as a recipe for compress, .yaml")
    ] = None,
    data_dir: options.DataDir = None,
    download: options.Download = False,
    device: options.Device = "cpu",
    threads: options.Threads = None,
    max_bytes: options.MaxBytes = None,
) -> None:
    """Score a network with one layer at a time pruned, shared, narrowed or factorised; the same command goes on where it stopped."""
    from tersenet.cli.command import UsageError
    from tersenet.cli.data import PARTS, load_data, load_metric
    from tersenet.cli.folders import check_file
    from tersenet.cli.match import check_match
    from tersenet.cli.source import resolve
    from tersenet.coding import get_coder
    from tersenet.graph import Network, capture
    from tersenet.search import sensitivity as measure
    from tersenet.search.run import BITS, LEVELS

    for path, suffix in ((output, ".json"), (figure, ".svg"), (recipe_out, ".yaml")):
        if path is not None:
            if path.suffix != suffix:
                raise UsageError(f"{path}: what is written there is known by its name; end it with {suffix}")
            check_file(path)
    if split not in PARTS:
        raise UsageError(f"--split {split}: the parts of a data set are {', '.join(PARTS)}")
    if not tolerance >= 0:
        raise UsageError(f"--tolerance {tolerance}: a number of points of 0 or more is expected")
    asked = tuple(method.strip() for method in methods.split(","))
    shares = LEVELS if levels is None else _numbers(levels, float, "--levels", "shares such as 0.5,0.2")
    widths = BITS if bits is None else _numbers(bits, int, "--bits", "whole numbers such as 8,4,2")
    get_coder(coder)
    options.set_threads(threads)
    device = options.find_device(device)
    found = resolve(source, weights, seed=session.seed, max_bytes=max_bytes)
    if not found.trained:
        raise UsageError(f"{source} has no trained weights; give --weights, or a .terse file")
    loaders = load_data(data, data_dir, download, found.preprocess)
    part, train = loaders.need(split), loaders.need("train") if batchnorm else None
    score = load_metric(metric)
    check_match(found.model, loaders)
    network = found.model if isinstance(found.model, Network) else capture(found.model, loaders.first_batch()[0])
    session.resumable()
    with session.progress() as progress:
        count = progress.counter("sensitivity")
        record = measure(
            network,
            part,
            methods=asked,
            levels=shares,
            bits=widths,
            where=where,
            examples=examples,
            budget_s=budget,
            metric=score,
            batchnorm=train,
            coder=coder,
            seed=session.seed,
            device=device,
            path=output,
            source=f"{source} on {data}",
            on_point=count,
        )
    figures = [] if figure is None else _draw(record, figure)
    fragment = _recipe(record, tolerance, recipe_out)
    thresholds = {
        method: {name: point and point.level for name, point in _thresholds(record, method, tolerance).items()}
        for method in record.methods
    }
    points = [
        one | {"lost_points_per_kb": point.lost_points_per_kb}
        for one, point in zip(record.to_dict()["points"], record.points)
    ]
    more = {"points": points, "tolerance": tolerance, "thresholds": thresholds, "file": str(output), "figures": figures}
    session.result(record.to_dict() | more, _text(record, tolerance, fragment, output, figures))


def _numbers(text: str, kind: type[Any], option: str, expected: str) -> tuple[Any, ...]:
    from tersenet.cli.command import UsageError

    try:
        return tuple(kind(word) for word in text.split(","))
    except ValueError:
        raise UsageError(f"{option} {text}: expected are {expected}") from None


def _thresholds(record: Sensitivity, method: str, tolerance: float) -> dict[str, Point | None]:
    return {name: record.threshold(method, name, tolerance) for name in record.of(method)}


def _draw(record: Sensitivity, path: Path) -> list[str]:
    from tersenet.container import atomic_write
    from tersenet.report.sensitivity import draw

    paths = []
    for method in record.methods:
        one = path if len(record.methods) == 1 else path.with_stem(f"{path.stem}-{method}")
        atomic_write(one, draw(record, method).encode())
        paths.append(str(one))
    return paths


def _recipe(record: Sensitivity, tolerance: float, path: Path | None) -> str:
    """The thresholds as YAML, or why they make no recipe, which is an error where one was to be written."""
    import yaml

    from tersenet.container import atomic_write
    from tersenet.errors import TersenetError
    from tersenet.search import recipe_from

    try:
        recipe = recipe_from(record, tolerance, "sensitivity" if path is None else path.stem)
    except TersenetError as error:
        if path is not None:
            raise
        return f"no recipe: {error}"
    text: str = yaml.safe_dump(recipe.compact(), sort_keys=False)
    if path is not None:
        atomic_write(path, text.encode())
    return text.rstrip()


def _text(record: Sensitivity, tolerance: float, fragment: str, output: Path, figures: list[str]) -> str:
    lines = [f"original  {_quality(record, record.original)}"]
    for method in record.methods:
        points = [point for points in record.of(method).values() for point in points]
        lines += ["", f"{method}: every point, least lost for its bytes first", _table(record, points)]
    for method in record.methods:
        reached = _thresholds(record, method, tolerance)
        lines += ["", f"{method}: the lowest level measured that loses at most {tolerance:g} points"]
        found = [point for point in reached.values() if point is not None]
        if found:
            lines.append(_table(record, found))
        none = [name for name, point in reached.items() if point is None]
        if none:
            lines.append(f"no level measured loses so little: {', '.join(none)}")
    lines += ["", fragment, "", *(f"figure    {path}" for path in figures), f"kept in   {output}"]
    if record.missing:
        asked = record.missing + len(record.points)
        lines.append(f"the time was up: {len(record.points)} of {asked} points are there; the same command goes on")
    return "\n".join(lines)


def _table(record: Sensitivity, points: list[Point]) -> str:
    from math import inf

    from tersenet.cli.text import table
    from tersenet.report.sensitivity import label

    def rank(point: Point) -> tuple[float, int]:
        """What got better by chance is no cheaper than what lost nothing; among those more bytes come first."""
        price = point.lost_points_per_kb
        return inf if price is None else max(price, 0.0), -point.bytes_saved

    rows = [
        [
            label(point),
            f"{point.level:g} bits" if point.method == "bits" else f"{100 * point.level:g} %",
            _quality(record, point.quality),
            f"{point.lost_points:.2f}",
            f"{point.bytes_saved:,}",
            "-" if point.lost_points_per_kb is None else f"{point.lost_points_per_kb:.4f}",
        ]
        for point in sorted(points, key=rank)
    ]
    headers = ["layer", "kept", record.measure, "points lost", "bytes saved", "points lost a kB"]
    return table(rows, headers, "lrrrrr")


def _quality(record: Sensitivity, value: float) -> str:
    from tersenet.cli.text import percent

    return percent({record.measure: -value if record.measure == "loss" else value})
