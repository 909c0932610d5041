"""The FUSE adapter: translates requests, and is the only importer of pyfuse3."""
