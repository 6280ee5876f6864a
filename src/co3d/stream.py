"""The former name of `co3d.compiler`, kept because older pickles contain it."""

raise ImportError(
    "co3d.stream is co3d.compiler now: got a pickle, or code, of an earlier version; convert the "
    "network again. Exported files, snapshots and run folders of earlier versions can be read"
)
