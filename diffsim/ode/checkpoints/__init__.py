"""What a solve keeps for its gradient, and what is computed again from it."""
