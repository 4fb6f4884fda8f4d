"""tersenet compress: a trained network to one small file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tersenet.cli import options
from tersenet.cli.session import Session

if TYPE_CHECKING:
    from tersenet.cli.data import Loaders
    from tersenet.cli.source import Source
    from tersenet.graph import Network
    from tersenet.recipes import Recipe
    from tersenet.search import Sensitivity


def compress(
    session: Session,
    source: options.Source,
    recipe: Annotated[str, typer.Option("--recipe", help="a shipped recipe (see tersenet recipes), or FILE.yaml")],
    output: Annotated[Path, typer.Option("--output", "-o", help="where the compressed network goes, .terse")],
    data: options.MaybeData = None,
    weights: options.Weights = None,
    metric: options.Metric = None,
    max_drop: Annotated[
        float | None,
        typer.Option(
            "--max-drop",
            help="points of validation accuracy that may be lost, else exit code 1; the smallest file of a recipe's quality",
        ),
    ] = None,
    target_size: Annotated[
        str | None,
        typer.Option("--target-size", help="34KB: the best point of the recipe's quality whose file is no larger"),
    ] = None,
    quality: Annotated[
        float | None,
        typer.Option("--quality", min=0, max=100, help="of a recipe that has one: 0 is smallest, 100 best"),
    ] = None,
    run_dir: Annotated[
        Path | None, typer.Option("--run-dir", help="stages and checkpoints; FILE.terse.run by default")
    ] = None,
    teacher: Annotated[
        list[str] | None,
        typer.Option("--teacher", help="who teaches where the recipe asks for it; SOURCE itself by default"),
    ] = None,
    teacher_weights: Annotated[
        list[Path] | None, typer.Option("--teacher-weights", help="trained weights, one file a teacher, in order")
    ] = None,
    bits: Annotated[str | None, typer.Option("--bits", help="bits of shared weights by layer: 'ip1=3,*=5'")] = None,
    keep: Annotated[str | None, typer.Option("--keep", help="share of weights kept by layer: 'ip1=0.08,*=0.2'")] = None,
    sensitivity: Annotated[
        Path | None,
        typer.Option(
            "--sensitivity", help="bits and share kept of each layer from what tersenet sensitivity wrote, .json"
        ),
    ] = None,
    tolerance: Annotated[
        float | None,
        typer.Option("--tolerance", help="with --sensitivity: points a layer alone may lose, 0.5 by default"),
    ] = None,
    coder: Annotated[
        str | None, typer.Option("--coder", help="raw, huffman, rans or range; the recipe's by default")
    ] = None,
    inputs: Annotated[
        str | None, typer.Option("--input", help="shape of an input, 1x28x28, where no data shows it")
    ] = None,
    data_dir: options.DataDir = None,
    download: options.Download = False,
    device: options.Device = "cpu",
    threads: options.Threads = None,
    max_bytes: options.MaxBytes = None,
    no_provenance: Annotated[
        bool, typer.Option("--no-provenance", help="leave recipe, seed and scores out of the file")
    ] = False,
) -> None:
    """Compress a network by a recipe; the same command goes on after an interruption."""
    from tersenet.cli.command import UsageError
    from tersenet.cli.folders import check_file, check_folder, check_room

    if output.suffix != options.SUFFIX:
        raise UsageError(f"--output {output}: a compressed network is known by its name; end it with {options.SUFFIX}")
    check_file(output)
    folder = run_dir if run_dir is not None else output.with_name(output.name + ".run")

    from tersenet import compress as run_recipe
    from tersenet.cli.data import load_data, load_metric
    from tersenet.cli.match import check_match
    from tersenet.cli.settings import parse_size
    from tersenet.cli.source import resolve
    from tersenet.cli.summary import compression_record, compression_text
    from tersenet.cli.teachers import load_teacher
    from tersenet.search import read_sensitivity

    options.set_threads(threads)
    device = options.find_device(device)
    if tolerance is not None and sensitivity is None:
        raise UsageError("--tolerance belongs to --sensitivity; give the file that tersenet sensitivity wrote")
    if tolerance is not None and not tolerance >= 0:
        raise UsageError(f"--tolerance {tolerance}: a number of points of 0 or more is expected")
    target_bytes = None if target_size is None else parse_size(target_size)
    if target_bytes is not None and quality is not None:
        raise UsageError("--quality is one point and --target-size searches for one; give one of them")
    measured = None if sensitivity is None else read_sensitivity(sensitivity)
    chosen = _recipe(session, recipe, bits, keep, measured, 0.5 if tolerance is None else tolerance, coder)
    found = resolve(source, weights, seed=session.seed, max_bytes=max_bytes)
    if quality is not None or target_bytes is not None:
        chosen.at_quality(50 if quality is None else quality)
    _check_request(found, chosen, data, max_drop, target_bytes)
    loaders = None if data is None else load_data(data, data_dir, download, found.preprocess)
    if chosen.trains and loaders is not None:
        loaders.need("train")
    score = load_metric(metric)
    if loaders is not None:
        check_match(found.model, loaders, chosen.loss)
    network = _network(found, loaders, inputs)
    taught_by = None
    if teacher:
        given = found.preprocess if loaders is None else loaders.preprocess
        taught_by, _ = load_teacher(teacher, teacher_weights or [], given, seed=session.seed, max_bytes=max_bytes)
    _check_patterns(network, bits, keep)
    _check_measured(network, measured)
    # All that was asked for is known to fit together: only now is anything made.
    check_folder(folder, make=True)
    check_room(folder, 4 * sum(tensor.numel() for tensor in found.model.state_dict().values()))
    if not found.trained:
        assert loaders is not None
        _train_first(session, found, loaders, folder, device)
        network = _network(found, loaders, inputs)
    part = loaders.get if loaders is not None else lambda name: None
    session.resumable()
    with session.progress() as progress:
        result = run_recipe(
            network,
            recipe=chosen,
            train=part("train"),
            validate=part("validate"),
            test=part("test"),
            metric=score,
            max_drop=max_drop,
            target_bytes=target_bytes,
            quality=quality,
            teacher=taught_by,
            seed=session.seed,
            run_dir=folder,
            device=device,
            provenance=not no_provenance,
            source=source,
            on_event=progress,
        )
    result.save(output)
    record = compression_record(result.record, output, result.run_dir)
    session.result(record, compression_text(record))


def _recipe(
    session: Session,
    name: str,
    bits: str | None,
    keep: str | None,
    measured: Sensitivity | None,
    tolerance: float,
    coder: str | None,
) -> Recipe:
    from tersenet.cli.settings import parse_bits, parse_keep
    from tersenet.coding import CODERS
    from tersenet.errors import TersenetError
    from tersenet.recipes import load_recipe
    from tersenet.search import with_thresholds

    recipe = load_recipe(name)
    bit_table, keep_table = None if bits is None else parse_bits(bits), None if keep is None else parse_keep(keep)
    if measured is not None:
        recipe, unused = with_thresholds(recipe, measured, tolerance, keep=keep_table, bits=bit_table)
        for sentence in unused:
            session.say(sentence)
    elif bits is not None or keep is not None:
        recipe = recipe.with_settings(bits=bit_table, keep=keep_table)
    if coder is None:
        return recipe
    if coder not in CODERS:
        raise TersenetError(f"coder '{coder}' is unknown; this build knows {', '.join(CODERS)}")
    return recipe.with_coder(coder)


def _check_request(
    source: Source, recipe: Recipe, data: str | None, max_drop: float | None, target_bytes: int | None
) -> None:
    from math import isfinite

    from tersenet.cli.command import UsageError

    if max_drop is not None and not isfinite(max_drop):
        raise UsageError(f"--max-drop {max_drop}: a number of points is expected, such as 0.5")
    if data is not None:
        return
    if recipe.trains:
        raise UsageError(f"recipe {recipe.name} trains; give --data, or take share-code or dense, which do not")
    if not source.trained:
        raise UsageError(f"{source.text} has no trained weights; give --weights, or --data to train it first")
    if max_drop is not None:
        raise UsageError("--max-drop is measured on validation data; give --data")
    if target_bytes is not None:
        raise UsageError("--target-size chooses by validation data; give --data")


def _train_first(session: Session, source: Source, loaders: Loaders, folder: Path, device: str) -> None:
    """A network of the zoo without weights is trained as the zoo says; its weights stay in the run folder.

    Asked for again, the finished checkpoint gives the same bits at the cost of a read.
    """
    from tersenet.cli.training import save_weights, train_config, train_model
    from tersenet.zoo.baselines import baseline

    config = train_config(baseline(source.text))
    session.say(
        f"no --weights given: {source.text} is trained first, {config.epochs} epochs; "
        f"its weights are kept in {folder / 'original.safetensors'}"
    )
    train_model(
        session,
        source.model,
        loaders,
        config,
        checkpoint=folder / "original.ckpt",
        device=device,
        label=f"train {source.text}",
    )
    save_weights(source.model, folder / "original.safetensors")


def _network(source: Source, loaders: Loaders | None, inputs: str | None) -> Network:
    """The source as an op list, traced on what the data shows, else on the shape that is known."""
    from tersenet.cli.command import UsageError
    from tersenet.cli.match import answer
    from tersenet.graph import Network, capture
    from tersenet.zoo.file_preprocess import to_file

    if isinstance(source.model, Network):
        return source.model
    example: Any = source.example(inputs) if loaders is None or inputs is not None else loaders.first_batch()[0]
    if example is None:
        raise UsageError(
            f"how {source.text} is called is not known; give --data, or --input with a shape such as 1x28x28"
        )
    if inputs is not None:
        answer(source.model, example, f"--input {inputs}")
    preprocess = source.preprocess if loaders is None else loaders.preprocess
    return capture(source.model, example, preprocess=None if preprocess is None else to_file(preprocess))


def _check_measured(network: Network, measured: Sensitivity | None) -> None:
    """Thresholds of layers that the network lacks are another network's, and refused."""
    from tersenet.methods.select import select_layers
    from tersenet.search.alone import pattern

    for point in measured.points if measured is not None else ():
        select_layers(network, pattern(point.name))


def _check_patterns(network: Network, *settings: str | None) -> None:
    """A pattern of --bits or --keep that names no layer is a slip of the pen, and refused."""
    from tersenet.cli.settings import patterns
    from tersenet.methods.select import select_layers

    for text in settings:
        for pattern in patterns(text):
            select_layers(network, pattern)
