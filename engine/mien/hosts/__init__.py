"""What every host does alike: frames on disk, a chain of nodes as a recipe, and words for what goes on.

Standard library only, in the syntax of Python 3.9: hosts run it in their own Python, beside ``mien.client``.
"""
