"""The values that flow: what their types promise."""

import copy
import json

import numpy
import pytest

from mien.types import Table


def test_a_table_is_its_rows_packed():
    rows = numpy.random.default_rng(1).normal(size=(80, 3))
    table = Table(rows.tolist())
    assert len(table) == 80 and table[-1] == tuple(rows[-1]) and list(table[2:4]) == [tuple(r) for r in rows[2:4]]
    assert numpy.array_equal(numpy.array(table), rows) and numpy.array_equal(table.tensor().numpy(), rows)
    assert table == Table(rows.tolist()) and hash(table) == hash(Table(rows.tolist())) and table != Table(rows[1:])
    assert copy.deepcopy(table) is table and not Table()
    assert Table(json.loads(json.dumps(table, default=list))) == table
    with pytest.raises(IndexError):
        table[80]
    with pytest.raises(ValueError, match="different lengths"):
        Table([[1.0], [1.0, 2.0]])
    own = table.tensor()
    own[0] = 9
    assert table[0] == tuple(rows[0])
