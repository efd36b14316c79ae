"""Pure: between the wire and Python, and what is decided from it.  Nothing here does I/O."""
