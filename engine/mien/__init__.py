"""Consented face replacement for visual effects; importing this package imports nothing heavy."""
