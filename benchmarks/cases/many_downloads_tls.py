"""Many small artifacts, to disk, over TLS."""

from benchmarks.cases.many_downloads import case

CASE = case(tls=True)
