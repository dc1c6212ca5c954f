"""Many recordings in one run: one bad file costs one row of the report.

In order: `process` (the main job), `lock` (one run a folder), `run` (reuse, copy, process), `worker_pool` (workers in
parallel; `ray_pool` on a cluster), `retries` (what is tried again), `supervision` and `spare_worker` (a worker
process), `worker` (one job), `cached_reading` and `cached_stages` (results that need not be computed again), `status`,
`merge` (shards -> one run).
"""
