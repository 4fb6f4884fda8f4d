"""Forms: how one weight tensor is stored while it can still learn."""

from tersenet.forms.base import FORMS, Form, form_class, lift
from tersenet.forms.codebook import Codebook
from tersenet.forms.dense import Dense
from tersenet.forms.masked import Masked
from tersenet.forms.product import Product
from tersenet.forms.residual import Residual
from tersenet.forms.sparse import Sparse
from tersenet.forms.uniform import Uniform

__all__ = [
    "FORMS",
    "Codebook",
    "Dense",
    "Form",
    "Masked",
    "Product",
    "Residual",
    "Sparse",
    "Uniform",
    "form_class",
    "lift",
]
