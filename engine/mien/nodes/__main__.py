"""Print ``nodes.json`` as the functions declare it: ``python -m mien.nodes > engine/mien/nodes.json``."""

import sys

from mien.declare import declare, to_json
from mien.nodes import NODES

sys.stdout.write(to_json(declare(function) for function in NODES))
