"""Which encoders a modality gets where its suite names none."""

from dataclasses import replace

from mmbench import plugins
from mmbench.engine.slots import reading
from mmbench.plugins import Shelf


def test_parts_on_request_are_left_out_so_that_a_new_one_changes_no_search() -> None:
    catalog = plugins.load()
    assert reading("tabular", catalog) == ("mlp",)
    assert catalog.encoders["ft_transformer"].on_request
    assert set(reading("series", catalog)) == {"cnn1d", "gru", "statistics"}


def test_where_a_kind_has_none_but_these_they_are_taken() -> None:
    catalog = plugins.load()
    asked = {name: part for name, part in catalog.encoders.items() if part.kind == "tabular" and part.on_request}
    assert len(asked) > 1
    assert reading("tabular", replace(catalog, encoders=Shelf("encoder", asked, catalog.encoders.origins))) == tuple(
        asked
    )
