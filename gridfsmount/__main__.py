"""`python -m gridfsmount` is the `gridfsmount` command."""

from gridfsmount.cli import main

if __name__ == "__main__":
    main()
