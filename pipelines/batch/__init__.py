"""Many recordings: one bad file costs one row.

In order: `process` (the main job), `lock` (one run a folder), `run` (keep, copy, do), `crew` (workers in parallel;
`ray_crew` on a cluster), `supervision` and `spare_worker` (a worker process), `worker` (one job), `cached_reading`
and `cached_stages` (results that need not be computed again), `status`, `merge` (shards -> one run).
"""
