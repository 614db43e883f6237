"""Frames, movies, tracks and identities on disk."""
