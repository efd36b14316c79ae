"""From a body on the wire to a whole file on disk."""
