"""Nuke's script files without Nuke: their grammar, what they build, whether it is right, and its pixels.

Standard library only and in the syntax of Python 3.9, but for ``nk.pixels`` and what builds on it.
"""
