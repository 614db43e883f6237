"""Nuke runs this in its interface and in renders: it adds folders, and a check of renders where one is asked for."""

import os

import nuke

nuke.pluginAddPath("./groups")

if os.environ.get("MIEN_CHECK"):
    try:
        from mien_nuke import checks

        checks.begin(os.environ["MIEN_CHECK"])
    except ValueError as error:
        raise RuntimeError(f"mien: {error}") from None
