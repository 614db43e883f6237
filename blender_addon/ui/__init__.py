# SPDX-License-Identifier: GPL-3.0-or-later
"""What an artist sees: properties, operators, panels, and the clock that follows the engine."""
