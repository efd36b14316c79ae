"""One large artifact, to disk, over TLS."""

from benchmarks.cases.download import case

CASE = case(tls=True)
