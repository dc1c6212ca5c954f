"""A file -> Audio: decoded once to 16 kHz mono, with a report of all losses (docs/method/decoding.md)."""

from __future__ import annotations

import errno
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields
from functools import partial
from io import FileIO
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from diarize import files, progress
from diarize.audio import channels, chunks, containers, excerpts
from diarize.audio.amr import AmrPackets
from diarize.audio.chunks import SampleBytes
from diarize.audio.containers import FileBytes, open_regular
from diarize.audio.packets import PAUSING, Packets
from diarize.audio.resampling import BlockResampler
from diarize.audio.sample_buffer import SampleBuffer, ScratchFiles
from diarize.audio.timestamps import JITTER, TimestampAligner
from diarize.errors import AudioError, DiarizeError, OutputError
from diarize.text import counted
from diarize.timeline import total, union
from diarize.types import Audio, Samples, Segment, Source
from diarize.units import RATE

SHORTFALL = 0.25  # s; a smaller difference between declared and decoded length is padding and rounding
LONGEST = 100 * 3600.0  # s; longer recordings are refused, longer declared lengths are ignored
CREDIBLE = 0.01  # share of the declared length that must be decoded before the rest counts as lost
SLOWEST, FASTEST = 1_000, 1_000_000  # Hz; rates outside are damage, or an attack on the resampler's memory
MOST_CHANNELS = 64  # the limit of FFmpeg's resampler
_PROTECTED = ("drms", "enca")  # ISO/IEC 14496-12, protected sample entries; drms is Apple's
_WAV_PACKET = 32_768  # bytes; FFmpeg's 4096 make eight times the work
_HASHED = 60 * RATE  # samples hashed at a time
_TAIL = 64 << 10  # bytes; a page of an Ogg file is never longer (RFC 3533)


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """The content of one file: one Audio, or one per channel if `channel` was per-channel."""

    audios: tuple[Audio, ...]
    source: Source


@dataclass(frozen=True, slots=True)
class DecodingReport:
    """What decoding reports beside the samples: the lost spans, and fields of `Source`."""

    container: str
    codec: str
    stream: int
    streams: int
    rate: int
    channels: int
    channel: str
    declared: float | None
    decoded: float
    notes: tuple[str, ...]
    lost: tuple[Segment, ...]
    lines: tuple[str, ...] = ()  # which part of the file's sound each Audio is (`Audio.line`)


# Decodes an open file: (file, its name in messages, channel, track, scratch folder) -> the samples (n,) of each Audio,
# and the report. Raises AudioError, OutputError, OSError.
Decode = Callable[[FileIO, str, str, int | None, Path], tuple[tuple[Samples, ...], DecodingReport]]
_OF_AUDIO = ("lost", "lines")  # fields of the report that are not of `Source`


def read(
    path: Path,
    *,
    id: str,
    name: str | None = None,
    channel: str = "auto",
    track: int | None = None,
    scratch: Path | None = None,
    decode: Decode | None = None,
    rate: int = RATE,
) -> Recording:
    """Decode a recording: `rate` Hz (default: that of all stages), mono, float32 in [-1, 1]; time 0 is where the file's
    own timeline begins.

    `name` becomes `Source.path` (default: the file's name). `channel` is auto, mix, per-channel or a number from 0;
    with per-channel every channel gives an Audio of the same id. `track` is the number of an audio track, from 0; None
    chooses one by rule. Recordings of more than ten minutes are stored in an
    unnamed file in `scratch` (default: the system's folder for temporary files) and memory-mapped. `decode` decodes the
    bytes to that rate, for example in another process (default: `decode` of this module).

    Raises AudioError if the file is not a recording, holds no sound, cannot be read, or changed while it was read. A
    recording that is only damaged is returned, with `Audio.lost` and `Source.notes` filled. Raises OutputError if
    `scratch` is full.
    """
    try:
        with open_regular(path) as file:
            before, digest = _stat_and_digest(path, file)
            channels_samples, report = (decode or partial(_decode_in_process, rate=rate))(
                file, str(path), channel, track, scratch or _temporary_folder()
            )
            _check_unchanged(path, file, before, digest)
    except DiarizeError:
        raise
    except OSError as error:
        raise AudioError(str(path), describe_os_error(error), suggest_cure(error)) from error
    except Exception as error:  # hostile bytes make PyAV raise anything: one bad file costs one recording
        raise AudioError(str(path), f"breaks the decoder ({type(error).__name__}: {error})") from error
    audios = tuple(
        Audio(id, samples, rate, digest, report.lost, hash_samples(samples), line)
        for samples, line in zip(channels_samples, report.lines, strict=True)
    )
    source = Source(
        path=path.name if name is None else name,
        digest=digest,
        size=before.st_size,
        pcm=tuple(audio.pcm for audio in audios),
        **{field.name: getattr(report, field.name) for field in fields(report) if field.name not in _OF_AUDIO},
    )
    return Recording(audios, source)


def hash_recording(path: Path) -> str:
    """sha256 of a recording's bytes, without decoding it. Raises AudioError as `read` does."""
    try:
        with open_regular(path) as file:
            before, digest = _stat_and_digest(path, file)
            _check_unchanged(path, file, before, digest)
    except OSError as error:
        raise AudioError(str(path), describe_os_error(error), suggest_cure(error)) from error
    return digest


def hash_samples(samples: Samples) -> str:
    """sha256 of samples (n,) as little-endian float32: the same for the same sound from different files."""
    digest = hashlib.sha256()
    for first in range(0, len(samples), _HASHED):
        digest.update(np.ascontiguousarray(samples[first : first + _HASHED], dtype="<f4").data)
        excerpts.release(samples)
    return digest.hexdigest()


def decode(
    file: FileIO, called: str, channel: str, track: int | None, scratch: ScratchFiles, rate: int = RATE,
    longest: float = LONGEST,
) -> tuple[Iterator[SampleBuffer], DecodingReport]:  # fmt: skip
    """The sound of one open file at `rate` Hz, a buffer of one channel for each Audio, and the report.

    Opens nothing but what `scratch` gives; `file` needs no name; more than `longest` s are refused. Raises AudioError
    (with `called` as the path), OutputError, OSError if the disk fails, and anything that hostile bytes make PyAV
    raise.
    """
    file.seek(0)
    decoder = _FileDecoder(called, file, os.fstat(file.fileno()).st_size, track, longest)
    resampler, lost = decoder.decode(scratch, rate)
    try:
        selection = channels.select_channels(resampler.statistics, channel)
    except ValueError as error:
        raise AudioError(called, str(error), "Choose another with --channel.") from error
    lines = tuple(
        " ".join(filter(None, (decoder.track_line, line)))
        for line in channels.name_lines(resampler.statistics, selection)
    )
    silent = decoder.note_silent_track(resampler.statistics.loudest)
    level = resampler.levels.correction(selection.weights)
    as_recorded = resampler.channels == 1 and level.gain == 1 and not level.cut
    report = DecodingReport(
        container=decoder.container,
        codec=decoder.codec,
        stream=decoder.stream,
        streams=decoder.streams,
        rate=resampler.first_rate,
        channels=resampler.channels,
        channel=selection.reason,
        declared=decoder.declared,
        decoded=round(resampler.seconds, 6),
        notes=(*decoder.notes, *silent, *level.notes),
        lost=lost,
        lines=lines,
    )
    buffer = resampler.buffer
    return (buffer if as_recorded else buffer.mix(row, level.gain) for row in selection.weights), report


def _temporary_folder() -> Path:
    """The system's folder for temporary files. Raises OutputError if it has none: not the recording's fault."""
    try:
        return Path(tempfile.gettempdir())
    except OSError as error:
        problem = "there is no folder for temporary files that may be written to"
        raise OutputError("TMPDIR", problem, "Set TMPDIR to a folder that you may write to.") from error


def _decode_in_process(
    file: FileIO, called: str, channel: str, track: int | None, scratch: Path, rate: int = RATE
) -> tuple[tuple[Samples, ...], DecodingReport]:
    buffers, report = decode(file, called, channel, track, ScratchFiles(scratch), rate)
    return tuple(buffer.samples() for buffer in buffers), report


class _FileDecoder:
    """Decodes one open file, and collects what the report says about it."""

    def __init__(self, called: str, file: FileIO, size: int, track: int | None, longest: float) -> None:
        self.called, self.size, self.track, self._longest = called, size, track, longest
        self.track_line = ""  # names the track where another one than the default was chosen
        self.container = self.codec = ""
        self.stream = self.streams = self._number = 0
        self.declared: float | None = None  # s
        self.notes: list[str] = []
        self._bytes = FileBytes(file)

    def decode(self, scratch: ScratchFiles, rate: int) -> tuple[BlockResampler, tuple[Segment, ...]]:
        """Everything that can be decoded, at its time, and the spans that cannot."""
        # The first bytes decide whether FFmpeg may open the file at all.
        head = self._bytes.peek(0, containers.HEAD)
        containers.refuse(self.called, head)
        format = chunks.recognize(head)
        sizes = None if format is None else chunks.find_samples(self._bytes, format, self.size)
        if sizes is not None:
            self._present(sizes)
        elif format is chunks.RIFF:
            raise self._error("holds no sound (a WAV without samples)")
        wav = sizes if format is chunks.RIFF else None

        options = {}
        if wav is not None:
            probed = chunks.packets_to_probe(self._bytes, wav, _WAV_PACKET)
            options = {"max_size": str(_WAV_PACKET), "max_probe_packets": str(probed)}
        with self._open(head, options) as container:
            stream = self._choose(container)
            exact = self._declare(container, stream, head, wav)
            packets = self._packets(container, stream)
            blocks = iter(packets)
            first = next(blocks, None)
            if first is None:
                raise self._silent(packets)

            # Time 0 is the earliest start of any stream, so that sound and picture keep their offset.
            starts = [s.start_time * s.time_base for s in _timeline_streams(container) if s.start_time is not None]
            origin = min(map(float, starts), default=first.time or 0.0)
            resampler, aligner = BlockResampler(first, scratch, rate), TimestampAligner(origin, self.declared)
            for block in chain([first], blocks):
                self._check_bounds(block.rate, block.samples.shape[1], aligner.cursor)
                for start, aligned in aligner.align(block):
                    resampler.add(start, aligned)
                progress.report(self._bytes.tell(), self.size)
            for start, aligned in aligner.finish():
                resampler.add(start, aligned)
            resampler.close()

            own = float(stream.start_time * stream.time_base) if stream.start_time is not None else origin
            lost = self._lost(resampler, aligner, packets, own - origin, origin, exact)
        if packets.encrypted or not resampler.buffer.length:
            raise self._silent(packets)
        self._add_notes(resampler, aligner, packets, lost)
        return resampler, lost

    def _present(self, samples: SampleBytes) -> None:
        """Let the decoder see where the samples end. Raises AudioError if there are none."""
        if samples.unusable and samples.actual <= samples.format.prefix:
            raise self._error("holds no sound (its header is followed by no samples)")
        chunks.present(self._bytes, samples)
        if samples.chunks:
            self.notes.append(
                "the header does not have the length of the sound: read up to the chunks behind the samples"
            )
        elif samples.unusable:
            self.notes.append("the header does not say how long the recording is: read to the end of the file")

    @contextmanager
    def _open(self, head: bytes, options: dict[str, str]) -> Iterator[Any]:
        try:
            container = containers.open_container(self._bytes, options)
        except Exception as error:  # PyAV raises many kinds; all mean that FFmpeg sees no container here
            self._bytes.check()
            raise self._error(*containers.unreadable(head)) from error
        with container:
            self.container = container.format.name
            yield container

    def _choose(self, container: Any) -> Any:
        """The audio stream to decode: `track`; else the one marked as default, with most channels, or the first."""
        streams = [s for s in container.streams.audio if s.codec_context is not None]
        if not streams:
            kind = "has a picture but no sound" if container.streams.video else "holds no sound"
            raise self._error(kind if not container.streams.audio else "holds sound that no decoder here reads")
        from av.stream import Disposition

        chosen = max(
            streams,
            key=lambda s: (bool(s.disposition & Disposition.default), s.codec_context.layout.nb_channels, -s.index),
        )
        tracks = list(container.streams.audio)
        if self.track is not None:
            default, chosen = chosen, self._track(tracks)
            self.track_line = f"track {self.track}" if chosen.index != default.index else ""
        with suppress(UnicodeDecodeError):  # a tag may be any four bytes, and PyAV wants ASCII
            if chosen.codec_context.codec_tag in _PROTECTED:
                raise self._error("is protected by DRM", "Get an unprotected copy from its publisher.")
        self._number = tracks.index(chosen)
        if len(streams) > 1 and self.track is None:
            self.notes.append(
                f"{len(tracks)} audio tracks: track {self._number} was used (marked as default, else most channels, "
                "else first); choose another with --track"
            )
        self.codec = chosen.codec_context.name
        self.stream, self.streams = chosen.index, len(container.streams.audio)
        return chosen

    def _track(self, tracks: list[Any]) -> Any:
        """The audio stream that the user chose. Raises AudioError where there is none, or none that can be decoded."""
        number, count = self.track or 0, len(tracks)
        if number >= count:
            there = f"it has {counted(count, 'audio track')}, numbered from 0"
            raise self._error(f"has no audio track {number}: {there}", "Choose another with --track.")
        if tracks[number].codec_context is None:
            raise self._error(f"holds sound in track {number} that no decoder here reads")
        return tracks[number]

    def note_silent_track(self, loudest: Any) -> tuple[str, ...]:
        """A note where the track has no sound and others may have some. `loudest`: power of each channel's loudest
        second."""
        if self.streams < 2 or loudest.max(initial=0.0) >= channels.SILENT:
            return ()
        others = ", ".join(str(i) for i in range(self.streams) if i != self._number)
        return (f"track {self._number} is silent; the recording has other tracks ({others}): choose one with --track",)

    def _declare(self, container: Any, stream: Any, head: bytes, wav: SampleBytes | None) -> bool:
        """Set `declared`. True if it is the length of the sound itself, so that a shortfall is a loss."""
        rate = stream.codec_context.sample_rate
        seconds = None if container.duration is None else container.duration / 1e6
        exact = len(_timeline_streams(container)) == 1
        if self.container == "mp3":
            seconds = containers.mp3_seconds(self._bytes.peek(containers.id3_length(head), containers.HEAD), rate)
        elif self.container in containers.BARE:
            seconds = None
        elif wav is not None and seconds is not None:
            if wav.actual < wav.declared and not wav.unusable:  # FFmpeg counts the bytes of a file that was cut off
                seconds *= wav.declared / max(wav.actual, 1)
        elif stream.duration is not None:
            seconds, exact = float(stream.duration * stream.time_base), True
        self.declared = seconds if seconds is not None and 0 < seconds <= LONGEST else None
        return exact

    def _packets(self, container: Any, stream: Any) -> Packets | AmrPackets:
        if self.container == "amr":
            return AmrPackets(self._bytes)
        # The stamps of compressed sound in a WAV come from its bytes: they are as invented as those of bare frames.
        compressed = self.container in ("wav", "w64") and not self.codec.startswith(("pcm_", "adpcm_"))
        return Packets(container, stream, self._bytes, compressed or self.container in containers.BARE)

    def _check_bounds(self, rate: int, count: int, cursor: float) -> None:
        if not SLOWEST <= rate <= FASTEST:
            raise self._error(f"has a sample rate of {rate} Hz; {SLOWEST} to {FASTEST} Hz can be read")
        if not 1 <= count <= MOST_CHANNELS:
            raise self._error(f"has {count} channels; up to {MOST_CHANNELS} can be read")
        if cursor > self._longest:
            limit = f"{LONGEST / 3600:.0f} hours" if self._longest == LONGEST else f"{self._longest:g} s"
            raise self._error(f"is longer than {limit}", "Cut it into parts.")

    def _lost(
        self,
        resampler: BlockResampler,
        aligner: TimestampAligner,
        packets: Packets | AmrPackets,
        lead: float,
        origin: float,
        exact: bool,
    ) -> tuple[Segment, ...]:
        """The spans without sound; extends the buffer to the length of the recording."""
        # Before the sound's own first stamp there was nothing to lose: the picture began earlier.
        if lead > SHORTFALL:
            self.notes.append(f"the sound begins {lead:.2f} s after the recording")
        holes = [(max(start, lead), end) for start, end in aligner.holes if end - max(start, lead) > JITTER / 10]

        # An Ogg file whose pages are all there has lost nothing: its encoder left out packets while nobody spoke.
        pausing = self.container == "ogg" and self.codec in PAUSING and not packets.failed
        whole = pausing and containers.ogg_is_whole(self._bytes, self.size)
        if whole:
            holes = []

        # Some containers count their length from the start of their stamps, some from the first sample.
        end = aligner.cursor
        missing = 0.0 if self.declared is None else self.declared - max(end, end + origin)
        if missing > SHORTFALL and (packets.silent or whole) and end >= CREDIBLE * (end + missing):
            end += missing
        elif missing > SHORTFALL and exact and end >= CREDIBLE * (end + missing):
            self.notes.append(f"cut off: the file says {self.declared:.2f} s, and {end:.2f} s are there")
            holes.append((end, end + missing))
        elif missing > SHORTFALL:
            self.notes.append(f"the file says {self.declared:.2f} s, its sound ends at {end:.2f} s")
        elif packets.trailing > SHORTFALL and missing >= 0:
            holes.append((end, end + packets.trailing))
        lost = union(Segment(round(start, 6), round(stop, 6)) for start, stop in holes)
        resampler.buffer.extend(round(max([end, *(span.end for span in lost)]) * resampler.rate))
        return lost

    def _add_notes(
        self,
        resampler: BlockResampler,
        aligner: TimestampAligner,
        packets: Packets | AmrPackets,
        lost: tuple[Segment, ...],
    ) -> None:
        note = self.notes.append
        if lost:
            note(f"{total(lost):.2f} s in {counted(len(lost), 'span')} could not be decoded and are silent")
        if packets.failed:
            note(f"{packets.failed} of {counted(packets.packets, 'packet')} could not be decoded")
        if packets.estimated > 0:
            note("the length of the loss is estimated from bytes: later times may be off where the bit rate varies")
        if self.container == "ogg" and not containers.ogg_ends(self._bytes.peek(max(0, self.size - _TAIL), _TAIL)):
            note("the end of the stream is not marked: it was cut off, or is still being written")
        if aligner.corrections:
            note(f"time stamps drift: corrected {counted(aligner.corrections, 'time')}, by 0.1 s at most each")
        if aligner.ignored:
            note(f"time stamps that contradict the others and were ignored: {aligner.ignored}")
        if aligner.repeated > 0:
            note(f"{aligner.repeated:.2f} s of sound repeat earlier time stamps and were left out")
        for at, rate, lines in resampler.changes[:3]:
            note(f"from {at:.2f} s on: {rate} Hz, {counted(lines, 'channel')}")
        if len(resampler.changes) > 3:
            note(f"rate or channels change {len(resampler.changes)} times in all")

    def _silent(self, packets: Packets | AmrPackets) -> AudioError:
        if packets.encrypted:
            return self._error("is encrypted (DRM)", "Get an unprotected copy from its publisher.")
        if packets.failed:
            return self._error(f"is damaged: none of its {counted(packets.packets, 'packet')} could be decoded")
        return self._error("holds no sound (0 samples)")

    def _error(self, problem: str, cure: str = "") -> AudioError:
        return AudioError(self.called, problem, cure)


def _timeline_streams(container: Any) -> list[Any]:
    """The streams that define the timeline: sound and moving pictures, no cover art."""
    from av.stream import Disposition

    films = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    return [*container.streams.audio, *films]


def _stat_and_digest(path: Path, file: FileIO) -> tuple[os.stat_result, str]:
    """Status and sha256 of an open file. Raises AudioError if it is empty, and OSError."""
    before = os.fstat(file.fileno())
    if before.st_size == 0:  # not read either: endless files of the system report this size
        raise AudioError(str(path), "is empty (0 bytes)")
    return before, files.sha256(file)


def _check_unchanged(path: Path, file: FileIO, before: os.stat_result, digest: str) -> None:
    """Raises AudioError if the file under `path` is no longer the one that was read."""

    def identity(status: os.stat_result) -> tuple[int, ...]:
        return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns

    changed = AudioError(str(path), "changed while it was read", "Try again when it is finished.")
    try:
        if identity(before) == identity(os.fstat(file.fileno())) == identity(path.stat()):
            return
        if files.sha256(path) != digest:
            raise changed
    except OSError as error:
        raise changed from error


def describe_os_error(error: OSError) -> str:
    """Why a recording cannot be read."""
    if error.errno == errno.ENOENT:
        return "does not exist, or is a link to something that does not"
    if error.errno == errno.ELOOP:
        return "is a link that leads back to itself"
    if error.errno in (errno.EACCES, errno.EPERM):
        return "may not be read"
    return f"cannot be read ({error.strerror or error})"


def suggest_cure(error: OSError) -> str:
    """What the user can do about it; "" if nothing is known to help."""
    return {
        errno.EACCES: "Change its rights.",
        errno.EIO: "The disk or the network failed: copy the file and try again.",
        errno.ESTALE: "The network share is gone: mount it and try again.",
    }.get(error.errno or 0, "")
