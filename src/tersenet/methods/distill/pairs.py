"""Which layer of a student learns from which layer of its teacher."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

from tersenet.errors import TersenetError

Shape: TypeAlias = tuple[int, ...]
"""Of what a layer gives, without the batch: (channels, height, width) or (features,)."""
Shapes: TypeAlias = Mapping[str, Shape]
"""By the layer's name, in the order in which layers are done."""
Kind: TypeAlias = Literal["hint", "attention", "features"]

LARGEST_KERNEL = 7
"""A regressor beyond it would have more weights than most of the layers it guides."""


def find_pairs(kind: Kind, student: Shapes, teacher: Shapes) -> list[tuple[str, str]]:
    """Layers that belong together by shape and depth.

    Maps of one height and width belong together, and of these the last ones; of layers without a map, those nearest to
    the middle, of two the later. A hint takes the one pair nearest to the middle of both (FitNets, section 2.2: "the middle layer"),
    attention every pair of maps, features every pair of equal shapes.
    """
    mine, theirs = _by_place(student), _by_place(teacher)
    pairs = [(mine[place], theirs[place]) for place in mine if place in theirs]
    pairs = [(a, b) for a, b in pairs if _why_not(kind, student[a], teacher[b]) is None]
    if not pairs:
        raise TersenetError(
            f"no layers of student and teacher can be matched for {kind}: the student's have the shapes "
            f"{_some(student)}, the teacher's {_some(teacher)}; name pairs as student_layer:teacher_layer, or drop {kind}"
        )
    if kind != "hint":
        return pairs
    off = [_off_middle(student), _off_middle(teacher)]
    return [min(pairs, key=lambda pair: off[0][pair[0]] + off[1][pair[1]])]


def check_pair(kind: Kind, names: tuple[str, str], student: Shapes, teacher: Shapes) -> None:
    """Refuse a pair of which one is not there, or that cannot be matched."""
    for whose, name, shapes in (("student", names[0], student), ("teacher", names[1], teacher)):
        if name not in shapes:
            raise TersenetError(
                f"{kind} '{names[0]}:{names[1]}': the {whose} has no layer '{name}' that gives a tensor inside it; it has "
                f"{', '.join(list(shapes)[:12]) or 'none'}"
            )
    why = _why_not(kind, student[names[0]], teacher[names[1]])
    if why is not None:
        raise TersenetError(
            f"{kind} '{names[0]}:{names[1]}': the student's layer gives {student[names[0]]}, the teacher's "
            f"{teacher[names[1]]}; {why}"
        )


def _why_not(kind: Kind, mine: Shape, theirs: Shape) -> str | None:
    """Why two layers cannot be matched, or None."""
    if kind == "features":
        return None if mine == theirs else "features are compared one by one, so shapes must be equal; use hint"
    if kind == "attention":
        if len(mine) != 3 or len(theirs) != 3:
            return "attention is a map, so both must give (channels, height, width)"
        return None if mine[1:] == theirs[1:] else "maps of attention need one height and width"
    if len(mine) != len(theirs) or len(mine) not in (1, 3):
        return "a regressor goes from (features,) to (features,) or from (channels, height, width) to another such"
    if len(mine) == 1:
        return None
    kernel = [a - b + 1 for a, b in zip(mine[1:], theirs[1:])]
    if min(kernel) < 1:
        return "the student's map is smaller, and a regressor cannot enlarge it"
    return None if max(kernel) <= LARGEST_KERNEL else f"a regressor would need a kernel of {kernel[0]}x{kernel[1]}"


def _by_place(shapes: Shapes) -> dict[Shape, str]:
    """For each height and width the last layer; for those without, under (), the one nearest to the middle."""
    off = _off_middle(shapes)
    found: dict[Shape, str] = {}
    for name, shape in shapes.items():
        if len(shape) == 3:
            found[shape[1:]] = name
        elif len(shape) == 1 and (() not in found or off[name] <= off[found[()]]):
            found[()] = name
    return found


def _off_middle(shapes: Shapes) -> dict[str, float]:
    """How far the end of each layer lies from the middle of the network: 0, and towards both ends 1."""
    places = len(shapes) + 1
    return {name: abs(2 * number - places) / places for number, name in enumerate(shapes, 1)}


def _some(shapes: Shapes) -> str:
    different = list(dict.fromkeys(shapes.values()))
    return ", ".join(map(str, different[:6])) + ("" if len(different) <= 6 else ", ...") if different else "none"
