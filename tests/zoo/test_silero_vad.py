"""The recording driver: frames, silence at the end, and files of another kind."""

import wave

import pytest
import torch

from tersenet.errors import TersenetError
from tersenet.zoo import network
from tersenet.zoo.silero_vad import read_wav, speech_probabilities


@pytest.mark.parametrize(("samples", "frames"), [(0, 0), (1, 1), (511, 1), (512, 1), (513, 2)])
def test_a_recording_has_one_answer_for_each_begun_frame(samples, frames):
    torch.manual_seed(0)
    model = network("silero_vad").eval()
    assert speech_probabilities(model, torch.rand(samples)).shape == (frames,)


def test_the_state_carries_over_from_frame_to_frame():
    torch.manual_seed(0)
    model = network("silero_vad").eval()
    sound = torch.rand(1024) - 0.5
    both = speech_probabilities(model, sound)
    assert both[0] == speech_probabilities(model, sound[:512])[0]
    assert both[1] != speech_probabilities(model, sound[512:])[0]


def write(path, channels=1, width=2, rate=16000, frames=b"\x00\x40\x00\xc0"):
    with wave.open(str(path), "wb") as out:
        out.setparams((channels, width, rate, 0, "NONE", ""))
        out.writeframes(frames)
    return path


def test_samples_are_read_to_one(tmp_path):
    assert read_wav(write(tmp_path / "a.wav")).tolist() == [0.5, -0.5]


def test_other_forms_of_sound_are_refused(tmp_path):
    for wrong in ({"channels": 2}, {"width": 1}, {"rate": 8000}):
        with pytest.raises(TersenetError, match="convert it first"):
            read_wav(write(tmp_path / "a.wav", **wrong))
    (tmp_path / "b.wav").write_bytes(b"RIFF")
    for name in ("b.wav", "none.wav"):
        with pytest.raises(TersenetError, match="not a readable wav"):
            read_wav(tmp_path / name)
