"""A user's mistake comes out of a task as a row, without Ray's advice. No cluster here."""

from collections.abc import Iterator

import pyarrow as pa
import pytest

from ccx_ray.errors import InputError
from ccx_ray.orchestration.ray_tasks import raise_mistake, with_mistake

LINE = "/data/a.jsonl.gz: file ends in the middle at line 17; give the whole file"


def task(number: int) -> Iterator[pa.Table]:
    yield pa.table({"task": [number]})
    if number:
        raise InputError(LINE)


def test_a_mistake_is_raised_as_it_was() -> None:
    good, mistake = with_mistake(task, 1)
    raise_mistake(good)
    for table in (mistake, pa.concat_tables([good, mistake], promote_options="default")):
        with pytest.raises(InputError) as caught:
            raise_mistake(table)
        assert str(caught.value) == LINE
    assert [table.to_pydict() for table in with_mistake(task, 0)] == [{"task": [0]}]


def test_a_defect_is_no_mistake() -> None:
    def defect(number: int) -> Iterator[pa.Table]:
        yield pa.table({"task": [1 // number]})

    with pytest.raises(ZeroDivisionError):
        list(with_mistake(defect, 0))
