"""The step `store`: a form for the weights, chosen by `form`, one file each."""

from typing import Annotated, Any, get_args

from pydantic import Discriminator, Tag

from tersenet.recipes.steps.store.base import StoreStep
from tersenet.recipes.steps.store.codebook import StoreCodebook
from tersenet.recipes.steps.store.dense import StoreDense
from tersenet.recipes.steps.store.product import StoreProduct
from tersenet.recipes.steps.store.residual import StoreResidual

_Forms = (
    Annotated[StoreCodebook, Tag("codebook")]
    | Annotated[StoreProduct, Tag("product")]
    | Annotated[StoreResidual, Tag("residual")]
    | Annotated[StoreDense, Tag("dense")]
)


def _form(entry: Any) -> Any:
    """What tells the forms apart; a codebook unless said otherwise."""
    return entry.get("form", "codebook") if isinstance(entry, dict) else entry.form


AnyStore = Annotated[
    _Forms,
    Discriminator(
        _form,
        custom_error_type="unknown_form",
        custom_error_message=f"form is one of {', '.join(form.__metadata__[0].tag for form in get_args(_Forms))}",
    ),
]

__all__ = ["AnyStore", "StoreCodebook", "StoreDense", "StoreProduct", "StoreResidual", "StoreStep"]
