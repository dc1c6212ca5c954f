"""A file -> `Audio`: decoded once, at 16 kHz mono, with every span that could not be decoded.

In order: `containers` (what may be opened), `packets` (decoded one by one), `timestamps` (when each piece was
recorded), `resampling` onto a `sample_buffer` on disk, `channels` (which to listen to), `levels` (clipping, offset,
broken samples); `reading` is the whole of it. `bandwidth` measures the highest frequency that holds speech,
`memory` gives pages back.
"""
