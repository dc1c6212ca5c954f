"""Telephone lines: 300 to 3400 Hz at 8 kHz, then one of the codecs that calls are carried with (PyAV)."""

from __future__ import annotations

import io
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, resample_poly, sosfilt

from diarize.types import Samples
from diarize.units import RATE

LINE = 8_000  # Hz
BAND = (300.0, 3_400.0)  # Hz, ITU-T G.712
# name -> (container, encoder, bits a second)
CODECS: dict[str, tuple[str, str, int | None]] = {
    "mu-law": ("wav", "pcm_mulaw", None),  # ITU-T G.711
    "a-law": ("wav", "pcm_alaw", None),
    "amr-nb": ("amr", "libopencore_amrnb", 12_200),  # 3GPP TS 26.071
    "opus": ("ogg", "libopus", 12_000),  # RFC 6716, narrow band
}


def available() -> tuple[str, ...]:
    """Those of CODECS that this build of FFmpeg can encode."""
    import av

    known = []
    for name, (_, encoder, _) in CODECS.items():
        try:
            av.codec.Codec(encoder, "w")
        except (ValueError, av.FFmpegError):  # UnknownCodecError is a ValueError
            continue
        known.append(name)
    return tuple(known)


def telephone(samples: Samples, codec: str) -> Samples:
    """Samples at 16 kHz as they leave a telephone line, at 16 kHz, as many, in the same place to some milliseconds."""
    line = resample_poly(np.asarray(samples, np.float64), LINE, RATE)
    line = sosfilt(_band(), line)
    peak = max(1.0, float(np.abs(line).max(initial=0)))
    coded = transcode(np.rint(line / peak * 32_767).astype(np.int16), codec)
    wide = resample_poly(coded.astype(np.float64) / 32_768 * peak, RATE, LINE)
    result = np.zeros(len(samples), np.float32)
    result[: len(wide)] = wide[: len(samples)]
    return result


def transcode(samples: NDArray[np.int16], codec: str) -> NDArray[np.int16]:
    """Samples at 8 kHz, encoded and decoded."""
    import av

    container, encoder, bits = CODECS[codec]
    memory = io.BytesIO()
    with av.open(memory, "w", format=container) as out:
        stream: Any = out.add_stream(encoder, rate=LINE)
        stream.layout = "mono"
        if bits is not None:
            stream.bit_rate = bits
        frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
        frame.sample_rate, frame.pts = LINE, 0
        for each in (frame, None):
            out.mux(stream.encode(each))
    memory.seek(0)
    resampler = av.AudioResampler(format="s16", layout="mono", rate=LINE)
    parts = []
    with av.open(memory) as source:
        for decoded in source.decode(audio=0):
            parts += [part.to_ndarray()[0] for part in resampler.resample(decoded)]
    parts += [part.to_ndarray()[0] for part in resampler.resample(None)]
    return np.concatenate(parts) if parts else np.zeros(0, np.int16)


@cache
def _band() -> NDArray[np.float64]:
    return np.asarray(butter(4, BAND, "bandpass", fs=LINE, output="sos"))
