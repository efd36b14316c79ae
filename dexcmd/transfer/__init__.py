"""Downloads of artifacts: from a response body to a complete file or object."""
