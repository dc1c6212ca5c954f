"""Pictures as SVG, drawn without a plotting package, so that their bytes are the same everywhere."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import floor, log10

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#888888"  # distinct for all kinds of colour vision (Okabe and Ito 2008)
WIDTH, HEIGHT = 640, 190  # of a picture; text is 11 units high
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 12, 10, 34
_FONT = 'font-family="Libertinus Serif, serif" font-size="11"'


@dataclass(frozen=True, slots=True)
class Curve:
    """A line through points (x, y)."""

    x: Sequence[float]
    y: Sequence[float]
    colour: str = BLUE
    label: str = ""
    dash: str = ""


def line_chart(
    curves: Sequence[Curve],
    labels: tuple[str, str],
    x_range: tuple[float, float] | None = None,
    y_range: tuple[float, float] | None = None,
    height: int = HEIGHT,
    mark: float | None = None,
) -> bytes:
    """Lines with axes; `mark` is a vertical line at a value of x."""
    every_x = [value for curve in curves for value in curve.x] + ([mark] if mark is not None else [])
    every_y = [value for curve in curves for value in curve.y]
    x_range = x_range or _range(every_x)
    y_range = y_range or _range(every_y)
    frame = _Frame(x_range, y_range, height)
    parts = [frame.axes(*labels)]
    if mark is not None:
        x = frame.x(mark)
        parts.append(f'<line x1="{x}" x2="{x}" y1="{_TOP}" y2="{height - _BOTTOM}" stroke="#111" stroke-width="2"/>')
    for curve in curves:
        points = " ".join(f"{frame.x(a)},{frame.y(b)}" for a, b in zip(curve.x, curve.y, strict=True))
        dash = f' stroke-dasharray="{curve.dash}"' if curve.dash else ""
        parts.append(f'<polyline points="{points}" fill="none" stroke="{curve.colour}" stroke-width="1.5"{dash}/>')
    for i, curve in enumerate(each for each in curves if each.label):
        y = _TOP + 14 + 14 * i
        dash = f' stroke-dasharray="{curve.dash}"' if curve.dash else ""
        place = f'x1="{WIDTH - 190}" x2="{WIDTH - 168}" y1="{y - 4}" y2="{y - 4}"'
        parts.append(f'<line {place} stroke="{curve.colour}" stroke-width="2"{dash}/>')
        parts.append(f'<text x="{WIDTH - 162}" y="{y}" {_FONT}>{escape(curve.label)}</text>')
    return _svg(parts, height)


def waveform(samples: NDArray[np.float32], rate: int, compared: Sequence[tuple[float, float]]) -> bytes:
    """Lowest and highest sample in each of 570 parts; compared speech is dark. The axis is in seconds."""
    count = min(WIDTH - _LEFT - _RIGHT, max(len(samples), 1))
    edges = np.linspace(0, len(samples), count + 1).astype(int)
    peak = max(float(np.abs(samples).max(initial=0.0)), 1e-6)
    frame = _Frame((0.0, max(len(samples) / rate, 1e-3)), (-peak, peak), HEIGHT)
    inside, outside = list[str](), list[str]()
    for a, b in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        piece = samples[a : max(b, a + 1)]
        if not len(piece):
            continue
        time = (a + b) / 2 / rate
        line = f"M{frame.x(time)} {frame.y(float(piece.min()))}V{frame.y(float(piece.max()))}"
        (inside if any(start <= time < end for start, end in compared) else outside).append(line)
    parts = [frame.axes("s", "")]
    parts += [f'<path d="{"".join(outside)}" stroke="#aaaaaa" fill="none"/>'] if outside else []
    parts += [f'<path d="{"".join(inside)}" stroke="{BLUE}" fill="none"/>'] if inside else []
    return _svg(parts, HEIGHT)


def spectrogram(samples: NDArray[np.float32], rate: int) -> bytes:
    """Levels of 96 bands up to half the sampling rate in 500 parts of the recording, 70 dB from black to white."""
    columns, bands, size = min(500, max(1, len(samples) // 256)), 96, 512
    starts = np.linspace(0, max(len(samples) - size, 0), columns).astype(int)
    padded = np.concatenate([samples, np.zeros(size, np.float32)])
    frames = np.stack([padded[start : start + size] for start in starts]) * np.hanning(size).astype(np.float32)
    power = np.abs(np.fft.rfft(frames, axis=1)[:, : size // 2]) ** 2
    edges = np.linspace(0, size // 2, bands + 1).astype(int)
    levels = 10 * np.log10(np.maximum(np.add.reduceat(power, edges[:-1], axis=1), 1e-12))
    shade = np.clip((levels - levels.max() + 70) / 70, 0, 1)
    image = (255 - np.round(255 * shade)).astype(np.uint8).T[::-1]
    frame = _Frame((0.0, max(len(samples) / rate, 1e-3)), (0.0, rate / 2000), HEIGHT)
    place = f'x="{_LEFT}" y="{_TOP}" width="{WIDTH - _LEFT - _RIGHT}" height="{HEIGHT - _TOP - _BOTTOM}"'
    data = base64.b64encode(_png(image)).decode()
    picture = f'<image {place} preserveAspectRatio="none" href="data:image/png;base64,{data}"/>'
    return _svg([picture, frame.axes("s", "kHz", grid=False)], HEIGHT)


def histogram(groups: Sequence[tuple[Floats, str, str]], labels: tuple[str, str], mark: float | None) -> bytes:
    """Shares (%) of values in 40 bins, for groups of (values, colour, label)."""
    values = np.concatenate([group[0] for group in groups])
    low, high = _range([*values.tolist(), *([mark] if mark is not None else [])])
    edges = np.linspace(low, high, 41)
    curves = []
    for group, colour, label in groups:
        share = 100 * np.histogram(group, edges)[0] / max(len(group), 1)
        x, y = np.repeat(edges, 2)[1:-1], np.repeat(share, 2)
        curves.append(Curve(x.tolist(), y.tolist(), colour, label))
    top = max(max(curve.y) for curve in curves)
    return line_chart(curves, labels, (low, high), (0.0, 1.05 * top), mark=mark)


class _Frame:
    """Maps values to places in a picture."""

    def __init__(self, x_range: tuple[float, float], y_range: tuple[float, float], height: int) -> None:
        self._x, self._y, self._height = x_range, y_range, height

    def x(self, value: float) -> float:
        share = (value - self._x[0]) / (self._x[1] - self._x[0])
        return round(_LEFT + float(np.clip(share, 0, 1)) * (WIDTH - _LEFT - _RIGHT), 1)

    def y(self, value: float) -> float:
        share = (value - self._y[0]) / (self._y[1] - self._y[0])
        return round(self._height - _BOTTOM - float(np.clip(share, 0, 1)) * (self._height - _TOP - _BOTTOM), 1)

    def axes(self, x_label: str, y_label: str, grid: bool = True) -> str:
        """Frame, ticks and labels."""
        bottom, right = self._height - _BOTTOM, WIDTH - _RIGHT
        parts = []
        for value in _ticks(*self._x, 8):
            x = self.x(value)
            parts.append(f'<line x1="{x}" x2="{x}" y1="{bottom}" y2="{bottom + 4}" stroke="#444"/>')
            parts.append(f'<text x="{x}" y="{bottom + 16}" text-anchor="middle" {_FONT}>{_number(value)}</text>')
        for value in _ticks(*self._y, 5):
            y = self.y(value)
            if grid:
                parts.append(f'<line x1="{_LEFT}" x2="{right}" y1="{y}" y2="{y}" stroke="#dddddd"/>')
            parts.append(f'<text x="{_LEFT - 5}" y="{y + 4}" text-anchor="end" {_FONT}>{_number(value)}</text>')
        outline = f'x="{_LEFT}" y="{_TOP}" width="{right - _LEFT}" height="{bottom - _TOP}"'
        parts.append(f'<rect {outline} fill="none" stroke="#444"/>')
        middle = (_LEFT + right) / 2
        parts.append(f'<text x="{middle}" y="{self._height - 4}" text-anchor="middle" {_FONT}>{escape(x_label)}</text>')
        if y_label:
            y = (bottom + _TOP) / 2
            turned = f'transform="rotate(-90 12 {y})"'
            parts.append(f'<text x="12" y="{y}" text-anchor="middle" {turned} {_FONT}>{escape(y_label)}</text>')
        return "".join(parts)


def _svg(parts: Sequence[str], height: int) -> bytes:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}">'
    return f'{head}<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>{"".join(parts)}</svg>'.encode()


def _png(image: NDArray[np.uint8]) -> bytes:
    """Grey pixels (rows, columns) as PNG (ISO/IEC 15948), not compressed: the bytes do not depend on a zlib."""
    rows, columns = image.shape
    raw = b"".join(b"\0" + row.tobytes() for row in image)

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", columns, rows, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", _stored(raw)) + chunk(b"IEND", b"")


def _stored(raw: bytes) -> bytes:
    """A zlib stream of stored blocks (RFC 1950, RFC 1951 section 3.2.4)."""
    blocks = [raw[i : i + 65_535] for i in range(0, len(raw), 65_535)]
    parts = [
        struct.pack("<BHH", i == len(blocks) - 1, len(block), 0xFFFF ^ len(block)) + block
        for i, block in enumerate(blocks)
    ]
    return b"\x78\x01" + b"".join(parts) + struct.pack(">I", zlib.adler32(raw))


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values, default=0.0), max(values, default=1.0)
    margin = 0.03 * (high - low) or 0.5
    return low - margin, high + margin


def _ticks(low: float, high: float, most: int) -> list[float]:
    """At most about `most` round numbers between two values."""
    step = 10.0 ** floor(log10((high - low) / most))
    step = next((step * factor for factor in (1, 2, 5, 10) if (high - low) / (step * factor) <= most), step * 10)
    first = int(np.ceil(low / step - 1e-9))
    return [round(i * step, 10) for i in range(first, int(np.floor(high / step + 1e-9)) + 1)]


def _number(value: float) -> str:
    return f"{value:g}".replace("-", "−")
