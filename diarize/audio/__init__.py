"""A file -> `Audio`: decoded once to 16 kHz mono, with every span that could not be decoded.

In order: `containers` (which files may be opened), `chunks` (where samples end), `packets` and `amr`
(decoded one by one), `timestamps` (when each block was recorded),
`resampling` into a `sample_buffer`, `channels` (which to use), `levels` (clipping, offset, invalid samples); `reading`
combines them. `bandwidth` measures the highest frequency of speech, `excerpts` cuts parts out of a recording.
"""
