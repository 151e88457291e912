"""Real tables that Python packages ship, brought to two simple forms (grids and clouds) from which charts are drawn.

The tables come offline from `statsmodels` (only those its notes call public domain, and World Bank data), from
`scikit-learn` and from `bokeh-sampledata` (only those its inventory calls public domain, CC0, CC BY, MIT or BSD).
A table belongs to one split for good, so that what is tested was never seen in training; tables about the same subject
with the same labels (fuel economy, countries' fertility) are on the same side.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...errors import LeamlInputError

if TYPE_CHECKING:
    import pandas as pd

MAX_LABEL = 10
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@dataclass(frozen=True)
class Grid:
    """
    Numbers by row and column, each with a short label; every chart except a scatter plot is cut from one.

    Attributes:
        title (`str`): what the numbers are, a heading of a few words.
        rows (`tuple[str, ...]`): labels of the rows, at most `MAX_LABEL` characters each.
        columns (`tuple[str, ...]`): labels of the columns.
        values (`np.ndarray`): float64 `[rows, columns]`, NaN where the table has no number.
        ordered (`bool`): the columns follow each other in time, so that a row can be drawn as a line.
        additive (`bool`): the rows of one column are parts of a whole, so that they can be drawn as a pie.
        one_unit (`bool`): numbers of different columns have one unit and may share an axis.
    """

    title: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    values: np.ndarray
    ordered: bool = False
    additive: bool = False
    one_unit: bool = True


@dataclass(frozen=True)
class Cloud:
    """
    Measurements of many things, for scatter plots of any two of them.

    Attributes:
        title (`str`): what one dot is.
        columns (`tuple[str, ...]`): names of the measurements.
        values (`np.ndarray`): float64 `[dots, columns]`, without NaN.
        groups (`np.ndarray` or `None`): label of each dot's group `[dots]`.
    """

    title: str
    columns: tuple[str, ...]
    values: np.ndarray
    groups: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class RealTable:
    """
    One real table and where it comes from.

    Attributes:
        name (`str`): the name that rows carry in `table`.
        package (`str`): the package on PyPI that ships it.
        licence (`str`): the terms as the package states them for this table.
        split (`str`): `train`, `validation` or `test`.
        columns (`tuple[str, ...]`): the columns used.
        load (`Callable`): gives the table's grids and clouds.
    """

    name: str
    package: str
    licence: str
    split: str
    columns: tuple[str, ...]
    load: Callable[[], list[Grid | Cloud]]


_TABLES: dict[str, RealTable] = {}


def register_table(name: str, package: str, licence: str, split: str, columns: str) -> Callable:
    def register(load: Callable[[], list[Grid | Cloud]]) -> Callable[[], list[Grid | Cloud]]:
        _TABLES[name] = RealTable(name, package, licence, split, tuple(columns.split()), cache(load))
        return load

    return register


def real_tables(split: str | None = None) -> list[RealTable]:
    """
    The tables that charts are drawn from.

    Args:
        split (`str`, *optional*): only the tables of this split (`train`, `validation` or `test`).

    Returns:
        `list[RealTable]`: in the order of their names.
    """
    from . import tables_bokeh, tables_nature, tables_statistics  # noqa: F401  (importing them registers their tables)

    return [table for _, table in sorted(_TABLES.items()) if split in (None, table.split)]


def package_file(module: str, package: str, *parts: str) -> Path:
    spec = find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise LeamlInputError(f"Real charts need the package {package}: install it with `pip install {package}`.")
    return Path(spec.submodule_search_locations[0]).joinpath(*parts)


def frame_grid(frame: "pd.DataFrame", title: str, **flags: bool) -> Grid:
    """A grid of the frame's index and columns, without the rows whose label is too long to be written in a chart."""
    frame = frame[[len(str(label)) <= MAX_LABEL for label in frame.index]]
    rows, columns = (tuple(str(label) for label in axis) for axis in (frame.index, frame.columns))
    return Grid(title, rows, columns, frame.to_numpy(dtype=np.float64), **flags)


def count_grids(frame: "pd.DataFrame", title: str, by: str, across: str) -> list[Grid]:
    """Counts of `by` within each value of `across`, and of `across` within each value of `by`."""
    import pandas as pd

    counts = pd.crosstab(frame[by], frame[across])
    return [frame_grid(counts, title, additive=True), frame_grid(counts.T, title, additive=True)]


def mean_grid(frame: "pd.DataFrame", title: str, by: str, names: dict[str, str]) -> Grid:
    """The mean of each named column within each value of `by`."""
    means = frame.groupby(by)[list(names)].mean().rename(columns=names)
    return frame_grid(means, title, one_unit=False)


def frame_cloud(frame: "pd.DataFrame", title: str, names: dict[str, str], group: str | None = None) -> Cloud:
    frame = frame.dropna(subset=[*names, *([group] if group else [])])
    groups = frame[group].astype(str).to_numpy() if group else None
    return Cloud(title, tuple(names.values()), frame[list(names)].to_numpy(dtype=np.float64), groups)


def series_grid(index: object, title: str, **rows: object) -> Grid:
    """Time series as rows over the points of time in `index`."""
    import pandas as pd

    frame = pd.DataFrame({label: np.asarray(row) for label, row in rows.items()}, index=list(index))
    return frame_grid(frame.T, title, ordered=True)
