"""What can be set in a file, in the environment and by options: names, kinds, secrets.

Knows no server and no command.
"""
