"""A Ray cluster of two nodes with a core each, as a program: `python -m tests.pipelines.ray_nodes`.

Prints its address; kills the second node when a line comes in, and says so; ends with its input.
"""

from __future__ import annotations

import os
import sys


def main() -> None:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    room = {"num_cpus": 1, "object_store_memory": 80 << 20, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=room)
    try:
        other = cluster.add_node(**room)
        print(cluster.address, flush=True)
        if sys.stdin.readline():
            cluster.remove_node(other, allow_graceful=False)
            print("killed", flush=True)
            sys.stdin.readline()
    finally:
        cluster.shutdown()


if __name__ == "__main__":
    main()
