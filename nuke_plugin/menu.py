"""Nuke runs this in its interface: it builds the toolbar. Whatever is wrong with mien, Nuke starts."""

try:
    from mien_nuke import toolbar

    toolbar.build()
except Exception:  # noqa: BLE001 - nothing of mien may keep Nuke from starting
    import traceback

    import nuke

    nuke.tprint("mien: its menu could not be built. Nuke is not affected.\n" + traceback.format_exc())
