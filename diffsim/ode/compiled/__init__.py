"""Solves as machine code: what loops call, how they are linked, how compiled programs call them."""
