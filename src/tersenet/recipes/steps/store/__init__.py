"""The step `store`: a form for the weights, chosen by `form`, one file each."""

from typing import Annotated, Any, get_args

from pydantic import Discriminator, Tag

from tersenet.recipes.steps.store.base import StoreStep
from tersenet.recipes.steps.store.binary import StoreBinary
from tersenet.recipes.steps.store.codebook import StoreCodebook
from tersenet.recipes.steps.store.dense import StoreDense
from tersenet.recipes.steps.store.fixed_point import StoreFixedPoint
from tersenet.recipes.steps.store.product import StoreProduct
from tersenet.recipes.steps.store.rate import StoreRate
from tersenet.recipes.steps.store.residual import StoreResidual
from tersenet.recipes.steps.store.ternary import StoreTernary
from tersenet.recipes.steps.store.uniform import StoreUniform

_Forms = (
    Annotated[StoreCodebook, Tag("codebook")]
    | Annotated[StoreProduct, Tag("product")]
    | Annotated[StoreResidual, Tag("residual")]
    | Annotated[StoreDense, Tag("dense")]
    | Annotated[StoreBinary, Tag("binary")]
    | Annotated[StoreTernary, Tag("ternary")]
    | Annotated[StoreUniform, Tag("uniform")]
    | Annotated[StoreFixedPoint, Tag("fixed_point")]
    | Annotated[StoreRate, Tag("rate")]
)


def _form(entry: Any) -> Any:
    """What tells the forms apart; a codebook unless said otherwise."""
    return entry.get("form", "codebook") if isinstance(entry, dict) else entry.form


def store_steps() -> dict[str, type[StoreStep]]:
    """The step of each form, by the form's name."""
    return {form.__metadata__[0].tag: get_args(form)[0] for form in get_args(_Forms)}


AnyStore = Annotated[
    _Forms,
    Discriminator(
        _form,
        custom_error_type="unknown_form",
        custom_error_message=f"form is one of {', '.join(form.__metadata__[0].tag for form in get_args(_Forms))}",
    ),
]

__all__ = [
    "AnyStore",
    "StoreBinary",
    "StoreCodebook",
    "StoreDense",
    "StoreFixedPoint",
    "StoreProduct",
    "StoreRate",
    "StoreResidual",
    "StoreStep",
    "StoreTernary",
    "StoreUniform",
    "store_steps",
]
