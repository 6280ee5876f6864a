"""A stub at the former place of `co3d.runtime.snapshot`, because older pickles name it."""

raise ImportError(
    "co3d.backends.snapshot is co3d.runtime.snapshot now: got a pickle, or code, of an earlier "
    "version; keep snapshots with Snapshot.save, whose files of earlier versions can be read"
)
