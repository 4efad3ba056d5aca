"""Which positions belong together: classes, pins, products of rows and columns."""

from __future__ import annotations

import numpy as np
import pytest

from audioprune.compress.units.trace.atoms import FIXED, Atoms, classes, reasons_of


def _ids(*numbers: int) -> np.ndarray:
    return np.array(numbers, dtype=np.int64)


@pytest.mark.parametrize("seed", range(5))
def test_classes_are_connected_components(seed: int) -> None:
    random = np.random.default_rng(seed)
    edges = [tuple(random.integers(1, 60, (2, 8))) for _ in range(4)]
    # the oracle joins sets one edge at a time
    groups = [{number} for number in range(60)]
    for one, other in edges:
        for a, b in zip(one.tolist(), other.tolist(), strict=True):
            joined = groups[a] | groups[b]
            for number in joined:
                groups[number] = joined
    wanted = [min(groups[number]) for number in range(60)]
    assert classes(60, edges).tolist() == wanted
    half = classes(60, edges[:2])
    assert classes(60, edges[2:], half).tolist() == wanted


def test_what_is_united_with_no_unit_is_pinned_with_the_reason() -> None:
    atoms = Atoms()
    one, other = atoms.fresh(3), atoms.fresh(3)
    other[1] = FIXED
    atoms.unite(one, other, "'add'")
    found = classes(atoms.count, atoms.edges)
    assert (found[one] == found[other]).tolist() == [True, False, True]
    assert reasons_of(found, atoms.pins) == {2: "'add' joins it with what has no units"}


def test_an_axis_of_rows_and_columns_comes_back_as_it_was() -> None:
    atoms = Atoms()
    whole = atoms.fresh(6)
    rows, columns = atoms.split(whole, 2, "'view'")
    assert rows is not None and columns is not None and (len(rows), len(columns)) == (2, 3)
    assert atoms.merge(rows, columns, (2, 3), "'view'").tolist() == whole.tolist()
    turned = atoms.merge(columns, rows, (3, 2), "'view'")
    assert turned.tolist() == whole.reshape(2, 3).T.flatten().tolist()
    assert len(atoms.products) == 1


def test_repeated_units_are_split_without_a_choice() -> None:
    atoms = Atoms()
    units = atoms.fresh(2)
    rows, columns = atoms.split(np.repeat(units, 3), 2, "")
    assert rows.tolist() == units.tolist() and columns is None
    rows, columns = atoms.split(np.tile(units, 3), 3, "")
    assert rows is None and columns.tolist() == units.tolist()
    assert atoms.split(_ids(0, 0), 2, "") == (None, None) and not atoms.products
    assert atoms.merge(units, None, (2, 3), "").tolist() == np.repeat(units, 3).tolist()
    assert atoms.merge(None, units, (3, 2), "").tolist() == np.tile(units, 3).tolist()
