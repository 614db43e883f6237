# SPDX-License-Identifier: GPL-3.0-or-later
"""All that knows Blender's trees, sockets, images and curves, and how its versions differ."""
