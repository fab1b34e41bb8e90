"""What happened: the files of a run folder, its status and its journal."""
