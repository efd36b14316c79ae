"""Conversion between the wire format and Python, and decisions based on responses.  Pure: nothing here does I/O."""
