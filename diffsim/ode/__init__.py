"""Initial value problems: tableaus, stepping loops, solves and their derivatives."""
