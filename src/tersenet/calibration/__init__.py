"""What the layers of a network see: statistics of their inputs, and BatchNorm set right after a change."""

from tersenet.calibration.batchnorm import recalibrate_batchnorm
from tersenet.calibration.collect import collect
from tersenet.calibration.sample import sample_batches
from tersenet.calibration.statistics import LayerStatistics
from tersenet.calibration.synthetic import synthetic_batches

__all__ = ["LayerStatistics", "collect", "recalibrate_batchnorm", "sample_batches", "synthetic_batches"]
