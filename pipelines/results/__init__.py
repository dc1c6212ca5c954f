"""Results of a run: the files of a recording, tables over all recordings, and what earlier runs have done.

In order: `outcomes` (one row a recording), `outputs` (a recording's folder), `journal` (run.json), `fingerprint`
and `resume` (what is done already), `settings_conflict`, `linking` and `voiceprints` (unknown speakers across
recordings), `corrections` (what people change), `tables`, `integrity` (has anything changed since?), `export`,
`sources` (where the recording of a result is now).
"""

RUN = "run.json"  # the report of a run, in its folder of results
