"""``python -m mien.serve``: the quickest way to start the engine, without the rest of the command line."""

import sys

from mien.heap import reuse
from mien.serve.engine import main

reuse()
main(sys.argv[1:])
