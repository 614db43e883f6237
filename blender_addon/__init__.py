# SPDX-License-Identifier: GPL-3.0-or-later
"""mien in Blender: faces converted by the engine as native compositor nodes on the timeline.

``core`` knows nothing of Blender, ``host`` holds all that differs between its versions, ``ui`` is what an artist
sees. Nothing of Blender is imported before ``register``, so that plain Python can import ``core``.
"""


def register() -> None:
    """Switch the extension on."""
    from .ui import registration

    registration.register()


def unregister() -> None:
    """Switch the extension off: jobs are cancelled and the engine leaves."""
    from .ui import registration

    registration.unregister()
