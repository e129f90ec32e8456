"""``python -m diffsim.testing`` prints the table of primitives and their rules."""

import sys

from .coverage import slot_table

if __name__ == "__main__":
    sys.stdout.write(slot_table())
