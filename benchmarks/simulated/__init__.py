"""Initial value problems and their contestants: what ``solves.py`` and ``gradients.py`` time."""
