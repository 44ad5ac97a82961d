"""What there is, and that the names of bilin's own fields mean one thing each."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bilin.catalog import FIXED_COLUMNS, REGISTRIES, find, listed, settings_of, usable
from bilin.errors import InputError
from bilin.fields import fields_of
from bilin.models import MODELS, tier_settings
from bilin.registry import origin, package_of
from bilin.results import query
from bilin.results.schema import TRAIN_COLUMNS
from bilin.results.sql.views import VIEWS
from bilin.spec import TrainSpec
from bilin.tasks import TASKS
from tests.results.samples import ENVIRONMENT


def test_fixed_columns_are_those_of_the_views_that_are_no_fields(tmp_path: Path) -> None:
    columns = {name for view in VIEWS if view != "published" for name in query(store=tmp_path, view=view).column_names}
    fields = {field for kind in REGISTRIES for settings in usable(kind).values() for field in fields_of(settings)}
    fields |= set(fields_of(TrainSpec)) - {"steps"}
    renamed = set(TRAIN_COLUMNS.values()) - set(fields_of(TrainSpec))
    inner = {"name", "source", "part", "selected", "tested", "test_lengths", "file_index"}
    assert columns - fields | renamed | inner == FIXED_COLUMNS


def test_everything_of_ours_is_listed_with_its_line_and_its_fields() -> None:
    for kind, names in (("models", MODELS), ("tasks", TASKS)):
        assert [each.name for each in listed(kind)] == list(names)
        assert all(each.summary.endswith(".") for each in listed(kind))
        assert all((each.package, each.error) == (None, None) for each in listed(kind))


def test_one_is_shown_whole() -> None:
    shown = find("models", "cp")
    assert shown.text.startswith(shown.summary)
    assert "A_x = P diag" in shown.text
    assert [field.name for field in shown.fields] == list(fields_of(tier_settings("cp")))
    assert shown.source
    assert find("tasks", "modular_addition").source == getattr(settings_of("tasks", "modular_addition"), "source", "")


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(InputError, match=r"no tier 'ful' \(did you mean full\?\); accepted: full, cp"):
        find("models", "ful")
    with pytest.raises(InputError, match="no task 'zzz'; accepted: modular_addition"):
        find("tasks", "zzz")


def test_listing_loads_no_torch() -> None:
    code = (
        "import sys; from bilin.catalog import find, listed; listed('models'); listed('tasks'); find('models', 'cp')\n"
        "assert not {'torch', 'numpy', 'ray', 'pyarrow'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_where_a_class_comes_from() -> None:
    assert origin(tier_settings("full")) == "bilin"
    assert package_of(tier_settings("full")) is None
    assert origin(type(ENVIRONMENT)) == "bilin"
    assert origin(pytest.MonkeyPatch) == "_pytest"
    assert package_of(pytest.MonkeyPatch) == "_pytest"
