"""How long the frames of bare streams are, by their headers: MP3 and AAC in ADTS."""

from __future__ import annotations

# Bits that all frames of a stream share: a header of random bytes does not have them by chance.
_ADTS_FIXED = 0xFFFFFFC0  # ISO/IEC 13818-7, table 8: syncword to channel configuration, as far as they are in 4 bytes
_MPEG_FIXED = 0xFFFE0CC0  # ISO/IEC 11172-3, 2.4.2.3: syncword, version, layer, rate, mode
_RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}  # Hz, by version
_SAMPLES = 1024  # of a block of AAC
_ADTS_RATES = (96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350)


def seconds(codec: str, start: bytes, size: int, good: bytes) -> float | None:
    """Seconds of a frame of `size` bytes that begins with `start`, by its header.

    None unless that is the header of a frame of this size, in a stream of frames like `good`; and of other codecs.
    """
    if len(start) < 7 or len(good) < 7:
        return None
    ours, theirs = int.from_bytes(start[:4], "big"), int.from_bytes(good[:4], "big")
    if codec == "aac":
        same = ours & _ADTS_FIXED == theirs & _ADTS_FIXED and ours >> 20 == 0xFFF
        index, length = ours >> 10 & 15, (start[3] & 3) << 11 | start[4] << 3 | start[5] >> 5
        if not same or length != size or index >= len(_ADTS_RATES):
            return None
        return (1 + (start[6] & 3)) * _SAMPLES / _ADTS_RATES[index]
    if codec.startswith(("mp3", "mp2")):
        rates = _RATES.get(ours >> 19 & 3)
        layer, index = ours >> 17 & 3, ours >> 10 & 3
        if ours & _MPEG_FIXED != theirs & _MPEG_FIXED or rates is None or index == 3 or layer not in (1, 2):
            return None
        samples = 576 if layer == 1 and rates is not _RATES[3] else 1152
        return samples / rates[index] if size == _mpeg_size(ours, rates, index, samples) else None
    return None


def _mpeg_size(header: int, rates: tuple[int, int, int], index: int, samples: int) -> int:
    """Bytes of an MPEG audio frame of layer II or III; 0 where its header does not say."""
    layer, bits = header >> 17 & 3, header >> 12 & 15
    if rates is not _RATES[3]:
        table = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
    elif layer == 1:
        table = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
    else:
        table = (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384)
    if not 1 <= bits <= len(table):
        return 0
    return samples * 125 * table[bits - 1] // rates[index] + (header >> 9 & 1)
