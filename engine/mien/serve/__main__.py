"""``python -m mien.serve``: the quickest way to start the engine, without the rest of the command line."""

import sys

from mien.serve.engine import main

main(sys.argv[1:])
