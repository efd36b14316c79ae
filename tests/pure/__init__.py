"""The other pure parts: errors, checks, matching, paging, names, ranges, and what the package shows."""
