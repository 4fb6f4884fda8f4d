"""Forms: how one weight tensor is stored while it can still learn."""

from tersenet.forms._learned_step import LearnedStep
from tersenet.forms._rate import RateStep
from tersenet.forms.base import FORMS, Form, form_class, lift
from tersenet.forms.binary import Binary
from tersenet.forms.codebook import Codebook
from tersenet.forms.columns import Columns
from tersenet.forms.dct import Dct
from tersenet.forms.dense import Dense
from tersenet.forms.fixed_point import FixedPoint
from tersenet.forms.latent import Latent
from tersenet.forms.masked import Masked
from tersenet.forms.product import Product
from tersenet.forms.residual import Residual
from tersenet.forms.sparse import Sparse
from tersenet.forms.ternary import Ternary
from tersenet.forms.uniform import Uniform

__all__ = [
    "FORMS",
    "Binary",
    "Codebook",
    "Columns",
    "Dct",
    "Dense",
    "FixedPoint",
    "Form",
    "Latent",
    "LearnedStep",
    "Masked",
    "Product",
    "RateStep",
    "Residual",
    "Sparse",
    "Ternary",
    "Uniform",
    "form_class",
    "lift",
]
