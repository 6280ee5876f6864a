"""The compiler's name until its room was renamed; pickles of that time still ask for it."""

raise ImportError(
    "co3d.stream is co3d.compiler now: got a pickle, or code, of an earlier version; convert the "
    "network again. Exported files, snapshots and run folders of earlier versions can be read"
)
