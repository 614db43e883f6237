"""Tracks from and for other programs: one module for each foreign format."""
