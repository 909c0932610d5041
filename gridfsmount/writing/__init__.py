"""Writing contents: chunks leave memory while the file is still being written."""
