"""Several mounts of one lake: what each sees of the others' changes, and when."""
