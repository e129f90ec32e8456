"""From graphs and stepping loops to machine code."""
