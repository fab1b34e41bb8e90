"""The `imettk` command: it parses, calls one command, and prints."""
