"""`python -m imettk` is the `imettk` command."""

from imettk.cli import main

main()
