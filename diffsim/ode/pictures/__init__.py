"""Bars and pictures of a solve."""
