"""Frames, movies, tracks and identities on disk: the only place that reads and writes files.

``shot`` opens a plate and reads its frames, ``layers`` writes what a render delivers, ``movies`` decodes
and ``delivery`` encodes movies, ``stills`` is the one place that speaks to OpenImageIO for reading,
``lines`` unpacks a region of a large EXR,
``sequence`` knows how frames are named, ``atomic`` how a file appears under its name only when whole.
"""
