"""What speaker models take: Kaldi's filter banks, the samples themselves, ReDimNet's mel spectrograms, or AutoSpeech's
spectrograms."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache

import numpy as np
from numpy.typing import NDArray

from diarize.types import Samples

_TINY = 1e-8  # bound of powers, and of the level that is divided by
_PREEMPHASIS = 0.97


@dataclass(frozen=True, slots=True)
class Features:
    """Log mel filter banks as computed by `compute-fbank-feats` of Kaldi, without dither."""

    rate: int = 16_000  # Hz
    num_mel_bins: int = 80
    frame_length: float = 0.025  # s
    frame_shift: float = 0.01  # s
    window: str = "hamming"
    sample_scale: float = 32_768.0  # samples are multiplied by it
    mean_normalised: bool = True  # each bin's mean over the segment is subtracted
    variance_normalised: bool = False  # and then divided by its standard deviation
    slaney: bool = False  # librosa's mel scale from 0 Hz, the mean sample not removed, as in NeMo

    def __call__(self, samples: Samples) -> NDArray[np.float32]:
        """(n,) -> (frames, num_mel_bins)."""
        import kaldi_native_fbank

        options = kaldi_native_fbank.FbankOptions()
        options.frame_opts.samp_freq = self.rate
        options.frame_opts.frame_length_ms = self.frame_length * 1000
        options.frame_opts.frame_shift_ms = self.frame_shift * 1000
        options.frame_opts.window_type = self.window
        options.frame_opts.dither = 0.0
        options.mel_opts.num_bins = self.num_mel_bins
        if self.slaney:
            options.frame_opts.remove_dc_offset = False
            options.mel_opts.low_freq = 0.0
            options.mel_opts.is_librosa = True
        bank = kaldi_native_fbank.OnlineFbank(options)
        bank.accept_waveform(self.rate, (samples * np.float32(self.sample_scale)).tolist())
        bank.input_finished()
        frames: NDArray[np.float32] = np.stack([bank.get_frame(i) for i in range(bank.num_frames_ready)])
        if self.mean_normalised:
            frames = frames - frames.mean(axis=0)
        if self.variance_normalised:
            frames = frames / (frames.std(axis=0) + np.float32(1e-5))
        return frames.astype(np.float32, copy=False)


@dataclass(frozen=True, slots=True)
class RawSamples:
    """Samples, for models with a front end of their own."""

    rate: int = 16_000  # Hz
    sample_scale: float = 1.0  # samples are multiplied by it

    def __call__(self, samples: Samples) -> NDArray[np.float32]:
        """(n,) -> (n,)."""
        return np.asarray(samples * np.float32(self.sample_scale), dtype=np.float32)


@dataclass(frozen=True, slots=True)
class ReDimNetMel:
    """The log mel spectrogram of ReDimNet and ReDimNet2 (arXiv:2407.18223, arXiv:2603.11841), minus its mean over time.

    The excerpt is brought to mean 0 and deviation 1, so its level does not matter. Its bins are spread evenly from 0 Hz
    to half the rate, as the models were trained with it: bin k of a transform of 512 samples counts as
    k / 255 x 8000 Hz, not as k / 256 x 8000 Hz.
    """

    rate: int = 16_000  # Hz
    num_mel_bins: int = 72
    frame_length: float = 0.025  # s
    frame_shift: float = 0.01  # s
    lowest: float = 20.0  # Hz
    highest: float = 7_600.0  # Hz
    fft_length: int = 512  # samples
    multiple: int = 4  # the number of frames is one of it: the last ones are left out

    def __call__(self, samples: Samples) -> NDArray[np.float32]:
        """(n,) with n of at least four frames -> (1, num_mel_bins, frames)."""
        sound = np.asarray(samples, dtype=np.float64)
        sound = (sound - sound.mean()) / (sound.std() + _TINY)
        sound = sound - _PREEMPHASIS * np.concatenate([sound[1:2], sound[:-1]])  # before the first: its mirror image

        # Frames: half a step of silence on both sides.
        length, step = round(self.frame_length * self.rate), round(self.frame_shift * self.rate)
        frames = np.lib.stride_tricks.sliding_window_view(np.pad(sound, step // 2), length)[::step]
        spectrum = np.fft.rfft(frames * np.hamming(length), self.fft_length)[:, : self.fft_length // 2]
        power = np.clip(np.abs(spectrum) ** 2, _TINY, 1 / _TINY)
        filters = mel_filters(self.num_mel_bins, self.fft_length // 2, self.lowest, self.highest, self.rate / 2)
        logarithms = np.log(np.clip(power @ filters, _TINY, 1 / _TINY) + _TINY)
        logarithms -= logarithms.mean(axis=0)
        count = len(logarithms) // self.multiple * self.multiple
        return np.ascontiguousarray(logarithms[:count].T[None], dtype=np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class StftMagnitude:
    """The spectrogram of AutoSpeech (arXiv:2005.03215) as its ONNX export takes it: magnitudes of 257 bins in windows
    of 300 frames, one every 150.

    A quieter excerpt is raised to -30 dBFS. Frames are centred at multiples of the shift, with silence around the
    excerpt; where there are not more than 300, each is repeated. `mean` and `deviation` come with the model and
    broadcast with (300, 257); `statistics` is their digest.
    """

    mean: NDArray[np.float32] = field(repr=False)
    deviation: NDArray[np.float32] = field(repr=False)
    statistics: str
    rate: int = 16_000  # Hz
    frame_length: float = 0.025  # s
    frame_shift: float = 0.01  # s
    fft_length: int = 512  # samples
    window_frames: int = 300
    level: float = -30.0  # dBFS

    def __call__(self, samples: Samples) -> NDArray[np.float32]:
        """(n,) -> (windows, window_frames, fft_length / 2 + 1)."""
        length, step = round(self.frame_length * self.rate), round(self.frame_shift * self.rate)
        rms = float(np.sqrt(np.mean(np.square(samples, dtype=np.float64)))) if len(samples) else 0.0
        gain = max(1.0, 10 ** (self.level / 20) / rms) if rms > 0 else 1.0
        padded = np.pad(samples * np.float32(gain), self.fft_length // 2)
        frames = np.lib.stride_tricks.sliding_window_view(padded, self.fft_length)[::step]
        margin = (self.fft_length - length) // 2  # the window lies in the middle of a frame
        window = np.pad(np.hanning(length + 1)[:-1], (margin, self.fft_length - length - margin))
        magnitudes = np.abs(np.fft.rfft(frames * window.astype(np.float32), axis=1)).astype(np.float32)
        while len(magnitudes) <= self.window_frames:
            magnitudes = np.repeat(magnitudes, 2, axis=0)
        windows = np.lib.stride_tricks.sliding_window_view(magnitudes, self.window_frames, axis=0)
        windows = windows[:: self.window_frames // 2].transpose(0, 2, 1)
        return np.ascontiguousarray((windows - self.mean) / self.deviation, dtype=np.float32)


@cache
def mel_filters(count: int, bins: int, lowest: float, highest: float, top: float) -> NDArray[np.float64]:
    """Triangles (bins, count), evenly spaced on HTK's mel scale, for bins from 0 to `top` Hz; bin 0 has no weight."""

    def mel(hertz: float | NDArray[np.float64]) -> NDArray[np.float64]:
        return 2595 * np.log10(1 + np.asarray(hertz) / 700)

    edges = np.linspace(mel(lowest), mel(highest), count + 2)
    left, middle, right = edges[:-2], edges[1:-1], edges[2:]
    at = mel(np.linspace(0, top, bins))[:, None]
    filters = np.maximum(0, np.minimum((at - left) / (middle - left), (right - at) / (right - middle)))
    filters[0] = 0
    return np.asarray(filters)
