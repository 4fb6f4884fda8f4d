"""nn.Module to op list and back, and what can be done to a network in between."""

from tersenet.graph._translate import CaptureError
from tersenet.graph.bypass import Bypass, bypass, bypasses
from tersenet.graph.capture import capture
from tersenet.graph.chains import Chain, replace_layers
from tersenet.graph.dead import remove_dead
from tersenet.graph.fold import fold_batchnorm
from tersenet.graph.head import Affine, DenseHead, dense_head, pooled_head
from tersenet.graph.layer import Layer
from tersenet.graph.network import Around, Network, WeightedLayer
from tersenet.graph.shapes import value_shapes
from tersenet.graph.surgery import Group, coupled_groups, remove_channels, remove_rows

__all__ = [
    "Affine",
    "Around",
    "Bypass",
    "CaptureError",
    "Chain",
    "DenseHead",
    "Group",
    "Layer",
    "Network",
    "WeightedLayer",
    "bypass",
    "bypasses",
    "capture",
    "coupled_groups",
    "dense_head",
    "fold_batchnorm",
    "pooled_head",
    "remove_channels",
    "remove_dead",
    "remove_rows",
    "replace_layers",
    "value_shapes",
]
