# SPDX-License-Identifier: GPL-3.0-or-later
"""What needs no Blender: settings of the chain, recipes, folders of a shot, color spaces."""
