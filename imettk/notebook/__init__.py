"""imettk in a notebook: runs as objects, whose commands are those of the command line."""
