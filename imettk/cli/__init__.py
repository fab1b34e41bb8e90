"""The `imettk` command: parse the words, call one command, print. No logic."""
