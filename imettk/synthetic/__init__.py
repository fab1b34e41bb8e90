"""Small generated competitions, each in the file formats of a real one."""
