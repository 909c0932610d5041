"""What a mount counts while it works, and how that is told. Pure: knows no trio, driver or FUSE."""
