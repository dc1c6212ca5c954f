"""Results of a run: what a recording leaves in its folder, tables over all of them, and what is known of earlier runs.

In order: `outcomes` (one row a recording), `outputs` (a recording's folder), `journal` (run.json), `fingerprint`
and `resume` (what is done already), `settings_conflict`, `linking` and `voiceprints` (unknown people across
recordings), `tables`, `integrity` (has anything changed since?), `export`.
"""

RUN = "run.json"  # the report of a run, in its folder of results
