from __future__ import annotations

from bilin.results.store.manifest import Part
from bilin.results.store.parts import FAN_IN, MAX_BYTES, num_mergeable


def part(level=0, num_bytes=1000):
    return Part(number=1, level=level, trials=1, curves=1, num_bytes=num_bytes)


def append(parts, num_bytes=1000):
    """The parts after one more append, and how many bytes were written again."""
    parts = [*parts, part(num_bytes=num_bytes)]
    if count := num_mergeable(parts):
        total = sum(each.num_bytes for each in parts[-count:])
        return [*parts[:-count], part(max(each.level for each in parts[-count:]) + 1, total)], total
    return parts, 0


def test_too_few_parts_are_left_alone():
    assert num_mergeable([part()] * (FAN_IN - 1)) == 0


def test_parts_of_different_levels_are_left_alone():
    assert num_mergeable([part(1), *[part()] * (FAN_IN - 1)]) == 0


def test_a_merge_that_completes_the_next_level_takes_both():
    assert num_mergeable([part(2), *[part(1)] * (FAN_IN - 1), *[part()] * FAN_IN]) == 2 * FAN_IN - 1


def test_parts_grow_no_further_than_the_limit():
    assert num_mergeable([part(3, MAX_BYTES // FAN_IN + 1)] * FAN_IN) == 0


def test_files_and_rewriting_grow_with_the_logarithm():
    parts, written = [], 0
    for _ in range(FAN_IN**3):
        parts, again = append(parts)
        written += again
        assert len(parts) <= 3 * (FAN_IN - 1)
    assert written <= 3 * 1000 * FAN_IN**3
    assert len(parts) == 1
