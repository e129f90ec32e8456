"""One simulation for many members."""
