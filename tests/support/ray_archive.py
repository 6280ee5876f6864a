"""Label an archive on a Ray cluster of two nodes, both here, and kill workers or a node meanwhile.

Run by a Python that has Ray: python ray_archive.py NETWORK VIDEOS FOLDER worker|node KILLS. It
labels the archive into one folder after another until there were so many kills, and prints what was
said of each as JSON.
"""

import json
import os
import random
import signal
import sys
import threading
import time
from contextlib import redirect_stdout
from dataclasses import asdict
from pathlib import Path

import ray
from ray.cluster_utils import Cluster

from co3d.fleet import RayCluster, label_archive

NODE = {"num_cpus": 1, "object_store_memory": 150_000_000, "include_dashboard": False}
MOST_SECONDS = 3.0


def list_workers(nodes):
    """Process ids of the actors on these nodes that label videos."""
    raylets = {node.all_processes["raylet"][0].process.pid for node in nodes}
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            title = (folder / "cmdline").read_bytes()
        except (OSError, ValueError):
            continue
        if parent in raylets and title.startswith(b"ray::MapWorker"):
            found.append(int(folder.name))
    return found


class Labelling(threading.Thread):
    """Labels the archive into one folder after another, until it is told that one was the last."""

    def __init__(self, network, videos, folder):
        super().__init__(daemon=True)
        self.network, self.videos, self.folder = network, videos, folder
        self.reports, self.is_last = {}, threading.Event()

    def run(self):
        while not (self.reports and self.is_last.is_set()):
            place = self.folder / f"round-{len(self.reports)}"
            report = label_archive(
                [self.videos],
                place,
                model=self.network,
                backend="torch",
                at_once=1,
                cluster=RayCluster(),
            )
            self.reports[str(place)] = asdict(report)


def main():
    network, videos, folder, kind, kills = sys.argv[1:]
    random.seed(0)
    cluster = Cluster(initialize_head=True, head_node_args=NODE)
    node = cluster.add_node(**NODE)  # in the main thread: Ray handles signals
    ray.init(address=cluster.address, log_to_driver=False)
    labelling = Labelling(network, videos, Path(folder))
    labelling.start()
    parts, left = 0, int(kills)
    while left and labelling.is_alive():
        time.sleep(random.uniform(0.0, MOST_SECONDS))
        now = len(list(Path(folder).rglob("[!.]*.parquet")))
        if now == parts:
            continue  # until something was labelled since the last kill, there is less to lose
        if kind == "worker":
            workers = list_workers([cluster.head_node, node])
            if not workers:
                continue
            os.kill(random.choice(workers), signal.SIGKILL)
        else:
            cluster.remove_node(node, allow_graceful=False)
            node = cluster.add_node(**NODE)
        parts, left = now, left - 1
        print(f"killed, {left} left", flush=True)
    labelling.is_last.set()
    labelling.join()
    ray.shutdown()
    cluster.shutdown()
    return labelling.reports


if __name__ == "__main__":
    with redirect_stdout(sys.stderr):  # Ray prints what its nodes lose
        said = main()
    print(json.dumps(said))
