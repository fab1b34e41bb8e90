"""How answers are judged, one family a file."""
