"""Pictures of results, as PNG and SVG (extra `plot`).

`plot` reads a recording's results, its sound and its voices, or the results of a run; `meeting` draws turns, speaking
times and who follows whom, `voices` the embeddings of windows and the similarity of speakers, `overview` a run. `style`
has colours and patterns, and makes bytes of figures.
"""
