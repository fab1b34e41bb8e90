"""Small competitions made on the spot, each in the file formats of a real one."""
