"""Silero's voice activity net at 16 kHz: a fixed Fourier convolution, four convolutions, one LSTM cell.

READ FIRST
  1. One step reads 512 new samples behind the 64 last ones of the step before: 576 in all.
  2. The state (h, c) goes in and comes out; zeros start a recording.
"""

import wave
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from tersenet.errors import TersenetError

FRAME = 512
CONTEXT = 64
HIDDEN = 128
BINS = 129  # of a 256-point transform: 256 / 2 + 1


class SileroVAD(nn.Module):
    """The probability of speech in one frame, and the state to hand to the next; 309,633 parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.stft_conv = nn.Conv1d(1, 2 * BINS, 256, stride=128, bias=False)
        self.conv1 = nn.Conv1d(BINS, 128, 3, padding=1)
        self.conv2 = nn.Conv1d(128, 64, 3, stride=2, padding=1)
        self.conv3 = nn.Conv1d(64, 64, 3, stride=2, padding=1)
        self.conv4 = nn.Conv1d(64, HIDDEN, 3, padding=1)
        self.lstm_cell = nn.LSTMCell(HIDDEN, HIDDEN)
        self.final_conv = nn.Conv1d(HIDDEN, 1, 1)

    def forward(
        self,
        samples: Float[Tensor, "n 576"],
        h: Float[Tensor, "n 128"],
        c: Float[Tensor, "n 128"],
    ) -> tuple[Float[Tensor, "n 1"], Float[Tensor, "n 128"], Float[Tensor, "n 128"]]:
        x = F.pad(samples, (0, CONTEXT), mode="reflect").unsqueeze(1)
        x = self.stft_conv(x)
        x = torch.sqrt(x[:, :BINS].square() + x[:, BINS:].square())
        x = torch.relu(self.conv1(x))
        x = torch.relu(self.conv2(x))
        x = torch.relu(self.conv3(x))
        x = torch.relu(self.conv4(x))
        h, c = self.lstm_cell(x.squeeze(2), (h, c))
        speech = torch.sigmoid(self.final_conv(torch.relu(h).unsqueeze(2)))
        return speech.squeeze(2), h, c


def speech_probabilities(model: nn.Module, samples: Float[Tensor, " t"]) -> Float[Tensor, " frames"]:
    """Run `model` over a mono 16 kHz recording in [-1, 1]; a last partial frame is filled with silence."""
    if samples.numel() == 0:
        return samples
    frames = -(-samples.numel() // FRAME)
    padded = F.pad(samples, (CONTEXT, frames * FRAME - samples.numel()))
    h, c = torch.zeros(1, HIDDEN), torch.zeros(1, HIDDEN)
    speech = []
    with torch.no_grad():
        for window in padded.unfold(0, CONTEXT + FRAME, FRAME):
            probability, h, c = model(window.unsqueeze(0), h, c)
            speech.append(probability.reshape(1))
    return torch.cat(speech)


def read_wav(path: str | Path) -> Float[Tensor, " t"]:
    """The samples of a mono 16-bit 16 kHz wav file, in [-1, 1)."""
    try:
        with wave.open(str(path), "rb") as file:
            form = (file.getnchannels(), file.getsampwidth(), file.getframerate())
            raw = file.readframes(file.getnframes())
    except (OSError, EOFError, wave.Error) as error:
        raise TersenetError(f"{path}: not a readable wav file ({error}); a mono 16-bit PCM file is needed") from error
    if form != (1, 2, 16000):
        raise TersenetError(
            f"{path}: {form[0]} channels of {8 * form[1]} bits at {form[2]} Hz; "
            "the net reads one channel of 16 bits at 16000 Hz: convert it first"
        )
    return torch.from_numpy(np.frombuffer(raw, "<i2").astype(np.float32) / 32768.0)
