"""Solves in stretches: events, scheduled times, inputs and switches."""
