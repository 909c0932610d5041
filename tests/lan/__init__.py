"""The lake served on to machines that have neither FUSE nor a way to MongoDB."""
