"""The parts of a training's page: four numbers, curves, which class was taken for which, settings."""

from __future__ import annotations

import json

from tersenet.report import confusion
from tersenet.report.curves import Series, figure
from tersenet.report.record import number, size, table, words
from tersenet.report.text import MISSING, count, escape, percent, plural, seconds
from tersenet.report.tiles import Tile, row
from tersenet.report.training_record import Training


def draw_tiles(record: Training) -> str:
    """Accuracy, loss, epochs, network."""
    return row([_accuracy(record), _loss(record), _epochs(record), _network(record)])


def _measured(record: Training, kind: str) -> tuple[float | None, str]:
    """On the test part, or else on the validation part."""
    for part, called in (("test", "test set"), ("validate", "validation set")):
        score = table(record.scores.get(part))
        if (value := number(score.get(kind))) is not None:
            examples = size(score.get("examples"))
            return value, called + (f", {count(examples)} examples" if examples else "")
    return None, "no validation or test data was given"


def _accuracy(record: Training) -> Tile:
    value, where = _measured(record, "accuracy")
    if value is None:
        where = "the targets are no classes" if _measured(record, "loss")[0] is not None else where
        return Tile("Accuracy", "", MISSING, "", where)
    return Tile("Accuracy", "", percent(value), "", where)


def _loss(record: Training) -> Tile:
    value, where = _measured(record, "loss")
    name = words(record.config.get("loss"), "loss").replace("_", " ")
    return Tile("Loss", "", MISSING if value is None else f"{value:.4f}", "", f"{name}, {where}")


def _epochs(record: Training) -> Tile:
    done, asked = len(record.epochs), size(record.config.get("epochs"))
    spent = [one.seconds for one in record.epochs if one.seconds is not None]
    said = [f"{seconds(sum(spent))} in all"] if spent else []
    if asked is not None and done < asked:
        said.append(f"stopped before {count(asked)}")
    if record.best_epoch is not None:
        said.append(f"the state of epoch {record.best_epoch} was kept")
    return Tile("Epochs", "", count(done), "", "; ".join(said))


def _network(record: Training) -> Tile:
    said = f"weights of {count(record.weights_bytes)} bytes" if record.weights_bytes is not None else ""
    return Tile("Parameters", "", count(record.parameters), "", said)


def draw_curves(record: Training) -> str:
    """Three charts, or a sentence where nothing was trained."""
    epochs = record.epochs
    if not epochs:
        return '<p class="none">No epoch was trained, so there are no curves.</p>'
    percents = [
        [None if value is None else 100 * value for value in values]
        for values in ([one.train_accuracy for one in epochs], [one.validation_accuracy for one in epochs])
    ]
    charts = [
        figure(
            "Loss",
            [
                Series("training", "train", [one.train_loss for one in epochs]),
                Series("validation", "validation", [one.validation_loss for one in epochs]),
            ],
        ),
        figure(
            "Accuracy",
            [Series("training", "train", percents[0]), Series("validation", "validation", percents[1])],
            " %",
        ),
        figure("Learning rate", [Series("at the end of the epoch", "train", [one.lr for one in epochs])]),
    ]
    return f'<div class="curves">{"".join(charts)}</div>'


def draw_confusion(record: Training) -> str:
    """The matrix, or the commonest confusions of many classes, or a sentence."""
    counts = record.counts
    if not counts:
        return '<p class="none">There is no table of classes: the answers are no classes, or no data was looked at.</p>'
    right, total = sum(one[place] for place, one in enumerate(counts)), sum(map(sum, counts))
    said = (
        f"{count(right)} of {count(total)} right on the {escape(record.part)} part. A row is a true class, a column what "
        "was said; shares are of the row."
    )
    about = f'<p class="about">{said}</p>'
    if len(counts) <= confusion.MOST_CLASSES:
        return f'{about}<div class="scroll bare">{confusion.draw(counts, record.class_names)}</div>'
    found = confusion.common(counts)
    listed = "".join(
        f"<tr><td>{escape(record.name(true))}</td><td>{escape(record.name(predicted))}</td>"
        f'<td class="n">{count(times)}</td></tr>'
        for times, true, predicted in found
    )
    return (
        f'{about}<div class="scroll" tabindex="0" role="region" aria-label="Commonest confusions"><table><thead><tr>'
        '<th scope="col">True</th><th scope="col">Predicted</th><th scope="col" class="n">Examples</th></tr></thead>'
        f"<tbody>{listed}</tbody></table></div>"
        f'<p class="about">The {plural(len(found), "commonest confusion")} of {count(len(counts))} classes.</p>'
    )


def draw_settings(record: Training) -> str:
    """Everything that decides the run."""
    pairs = [("network", record.source), ("data", record.data), ("seed", record.seed), ("machine", record.machine)]
    pairs += [(name, json.dumps(value) if isinstance(value, dict) else value) for name, value in record.config.items()]
    listed = "".join(
        f"<dt>{escape(str(name).replace('_', ' '))}</dt><dd>{escape('none' if value is None else value)}</dd>"
        for name, value in pairs
    )
    return f'<dl class="settings">{listed}</dl>'
