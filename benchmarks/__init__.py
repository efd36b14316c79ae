"""dexcmd beside its peers: Cloudflare's own client and, for bytes, curl.

`uv run python -m benchmarks` runs every case and prints Markdown.  Each measurement is made in a fresh process, rounds
go round robin over the contenders, and ratios are taken within a round.  Needs Linux: peak memory is read from /proc.
"""
