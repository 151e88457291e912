"""The tables that `statsmodels` and `scikit-learn` ship."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from .tables import (
    MONTHS,
    Cloud,
    Grid,
    count_grids,
    frame_cloud,
    frame_grid,
    mean_grid,
    package_file,
    register_table,
    series_grid,
)

if TYPE_CHECKING:
    import pandas as pd

_SKLEARN = ("scikit-learn", "BSD-3-Clause (package)")


def _statsmodels(name: str, split: str, columns: str, licence: str = "public domain") -> Callable:
    return register_table(name, "statsmodels", licence, split, columns)


def _read_statsmodels(name: str, file: str | None = None, **options: object) -> "pd.DataFrame":
    import pandas as pd

    path = package_file("statsmodels", "statsmodels", "datasets", name, file or f"{name}.csv")
    return pd.read_csv(path, **{"skipinitialspace": True, **options})


# --------------------------------------------------------------------------------------------------------- statsmodels


@_statsmodels("anes96", "train", "educ vote TVnews income age")
def _anes96() -> list[Grid | Cloud]:
    frame = _read_statsmodels("anes96", sep="\t", quotechar="'")
    frame = frame.assign(
        vote=frame["vote"].map({0: "Clinton", 1: "Dole"}),
        educ=frame["educ"].map(
            dict(enumerate(["Grade 8", "Some HS", "High sch.", "Some coll.", "College", "Master", "PhD"], start=1))
        ),
        news=frame["TVnews"].map(lambda days: "1 day" if days == 1 else f"{days} days"),
    )
    names = {"age": "Age", "TVnews": "TV news days", "income": "Income level"}
    return [
        *count_grids(frame, "1996 voters", "educ", "vote"),
        *count_grids(frame, "TV news a week", "news", "vote"),
        mean_grid(frame, "1996 voters", "educ", names),
    ]


@_statsmodels("co2", "train", "date co2")
def _co2() -> list[Grid | Cloud]:
    frame = _read_statsmodels("co2", dtype={"date": str}).dropna()
    frame = frame.assign(year=frame["date"].str[:4].astype(int), month=frame["date"].str[4:6].astype(int))
    yearly = frame.groupby("year")["co2"].mean()
    monthly = frame.pivot_table(index="year", columns="month", values="co2")
    monthly.columns = list(MONTHS)
    return [
        series_grid(yearly.index, "CO2 at Mauna Loa (ppm)", CO2=yearly.to_numpy()),
        frame_grid(monthly, "Mauna Loa CO2 (ppm)", ordered=True),
        frame_cloud(yearly.reset_index(), "CO2 by year", {"year": "Year", "co2": "CO2 (ppm)"}),
    ]


@_statsmodels("elec_equip", "train", "DATE turnover")
def _elec_equip() -> list[Grid | Cloud]:
    frame = _read_statsmodels("elec_equip")
    frame.columns = ["date", "turnover"]
    frame = frame.assign(year=frame["date"].str[-4:].astype(int), month=frame["date"].str[:3])
    table = frame.pivot_table(index="year", columns="month", values="turnover")[list(MONTHS)]
    return [
        frame_grid(table, "Turnover, el. equipment", ordered=True),
        frame_grid(table.T, "Turnover, el. equipment", ordered=True),
    ]


@_statsmodels("elnino", "validation", "YEAR JAN-DEC")
def _elnino() -> list[Grid | Cloud]:
    frame = _read_statsmodels("elnino").set_index("YEAR")
    frame.columns = list(MONTHS)
    return [
        frame_grid(frame, "Sea temperature (°C)", ordered=True),
        frame_grid(frame.T, "Sea temperature (°C)", ordered=True),
    ]


@_statsmodels("engel", "validation", "income foodexp")
def _engel() -> list[Grid | Cloud]:
    return [frame_cloud(_read_statsmodels("engel"), "Belgian families 1857", {"income": "Income", "foodexp": "Food"})]


@_statsmodels("fertility", "test", "Country Name 1960-2011", "World Bank terms of use")
def _fertility() -> list[Grid | Cloud]:
    frame = _read_statsmodels("fertility").set_index("Country Name")
    years = [column for column in frame.columns if column.isdigit() and int(column) <= 2010]
    return [frame_grid(frame[years], "Births per woman", ordered=True)]


@_statsmodels("grunfeld", "validation", "firm year invest value capital")
def _grunfeld() -> list[Grid | Cloud]:
    short = {"General Motors": "GM", "General Electric": "GE", "Atlantic Refining": "Atlantic"}
    short |= {"Westinghouse": "Westingh.", "American Steel": "Am. Steel", "Diamond Match": "Diamond"}
    frame = _read_statsmodels("grunfeld").replace({"firm": short})
    grids = [
        frame_grid(frame.pivot_table(index="firm", columns="year", values=column), title, ordered=True, additive=True)
        for column, title in {
            "invest": "Investment ($M)",
            "value": "Firm value ($M)",
            "capital": "Capital ($M)",
        }.items()
    ]
    return [*grids, frame_cloud(frame, "US firms", {"invest": "Investment", "value": "Value", "capital": "Capital"})]


@_statsmodels("longley", "train", "YEAR TOTEMP GNPDEFL GNP UNEMP ARMED POP")
def _longley() -> list[Grid | Cloud]:
    frame = _read_statsmodels("longley")
    names = {"TOTEMP": "Employed", "GNP": "GNP", "POP": "Population", "YEAR": "Year", "UNEMP": "Jobless"}
    return [
        series_grid(frame["YEAR"], "US 1947-62 (1,000s)", Jobless=frame["UNEMP"], Army=frame["ARMED"]),
        series_grid(frame["YEAR"], "US GNP ($bn)", GNP=frame["GNP"] / 1000),
        frame_cloud(frame, "US 1947-62", names),
    ]


@_statsmodels("macrodata", "train", "year realgdp realcons realinv realgovt unemp infl tbilrate")
def _macrodata() -> list[Grid | Cloud]:
    frame = _read_statsmodels("macrodata").groupby("year").mean()
    parts = {"realcons": "Consumers", "realinv": "Investment", "realgovt": "Government"}
    rates = {"unemp": "Jobless", "infl": "Inflation", "tbilrate": "T-bill"}
    return [
        frame_grid(frame[list(parts)].rename(columns=parts).T, "US spending ($bn)", ordered=True, additive=True),
        frame_grid(frame[list(rates)].rename(columns=rates).T, "US rates (%)", ordered=True),
        frame_cloud(frame, "US years 1959-2009", {"realgdp": "GDP", "cpi": "Prices", **rates}),
    ]


@_statsmodels("modechoice", "train", "mode choice ttme invc invt gc hinc psize")
def _modechoice() -> list[Grid | Cloud]:
    frame = _read_statsmodels("modechoice", sep=";")
    frame = frame.assign(mode=frame["mode"].map({1: "Air", 2: "Train", 3: "Bus", 4: "Car"}))
    chosen = frame[frame["choice"] == 1]
    party = chosen.assign(
        party=chosen["psize"].astype(int).map(lambda size: "1 person" if size == 1 else f"{size} people")
    )
    names = {"ttme": "Waiting (min)", "invc": "Cost ($)", "invt": "Travel (min)", "hinc": "Income"}
    return [
        *count_grids(party, "Trips chosen", "mode", "party"),
        mean_grid(frame, "Trips offered", "mode", names),
        frame_cloud(frame, "Trips", {"invc": "Cost ($)", "invt": "Time (min)"}, "mode"),
    ]


@_statsmodels("nile", "test", "year volume")
def _nile() -> list[Grid | Cloud]:
    frame = _read_statsmodels("nile")
    return [
        series_grid(frame["year"], "Nile flow", Nile=frame["volume"]),
        frame_cloud(frame, "Nile flow", {"year": "Year", "volume": "Flow"}),
    ]


@_statsmodels("randhie", "train", "mdvis disea hlthg hlthf hlthp physlm")
def _randhie() -> list[Grid | Cloud]:
    frame = _read_statsmodels("randhie")
    health = np.select(
        [frame["hlthg"] == 1, frame["hlthf"] == 1, frame["hlthp"] == 1], ["Good", "Fair", "Poor"], "Excellent"
    )
    visits = frame["mdvis"].map(lambda count: f"{count} visits")[frame["mdvis"].between(2, 8)]
    frame = frame.assign(health=health, visits=visits, limit=frame["physlm"].round().map({0: "Fit", 1: "Limited"}))
    names = {"mdvis": "Doctor visits", "disea": "Illnesses"}
    return [*count_grids(frame, "Patients", "visits", "health"), mean_grid(frame, "By health", "health", names)]


@_statsmodels("stackloss", "train", "STACKLOSS AIRFLOW WATERTEMP ACIDCONC")
def _stackloss() -> list[Grid | Cloud]:
    frame = _read_statsmodels("stackloss")
    names = {"STACKLOSS": "Loss", "AIRFLOW": "Air flow", "WATERTEMP": "Water temp.", "ACIDCONC": "Acid"}
    days = frame.set_index(frame.index.map(lambda day: f"Day {day + 1}"))
    return [
        frame_grid(days.rename(columns=names), "Ammonia plant", one_unit=False),
        frame_cloud(frame, "Ammonia plant", names),
    ]


@_statsmodels("statecrime", "validation", "state violent murder hs_grad poverty single white urban")
def _statecrime() -> list[Grid | Cloud]:
    frame = _read_statsmodels("statecrime").set_index("state")
    names = {"violent": "Violent crime", "murder": "Murder rate", "hs_grad": "High school (%)"}
    names |= {"poverty": "Poverty (%)", "single": "Single parent (%)", "urban": "Urban (%)"}
    return [
        frame_grid(frame[list(names)].rename(columns=names), "US states", one_unit=False),
        frame_cloud(frame, "US states", names),
    ]


@_statsmodels("sunspots", "train", "YEAR SUNACTIVITY")
def _sunspots() -> list[Grid | Cloud]:
    frame = _read_statsmodels("sunspots").astype({"YEAR": int})
    return [series_grid(frame["YEAR"], "Sunspots", Sunspots=frame["SUNACTIVITY"])]


# -------------------------------------------------------------------------------------------------------- scikit-learn


def _toy(load: Callable, title: str, names: dict[str, str], classes: tuple[str, ...]) -> list[Grid | Cloud]:
    frame = load(as_frame=True).frame
    frame = frame.assign(group=frame["target"].map(dict(enumerate(classes))))
    return [mean_grid(frame, title, "group", names), frame_cloud(frame, title, names, "group")]


@register_table("iris", *_SKLEARN, "train", "sepal petal species")
def _iris() -> list[Grid | Cloud]:
    from sklearn.datasets import load_iris

    names = {"sepal length (cm)": "Sepal len.", "sepal width (cm)": "Sepal wid."}
    names |= {"petal length (cm)": "Petal len.", "petal width (cm)": "Petal wid."}
    grid, cloud = _toy(load_iris, "Irises (cm)", names, ("Setosa", "Versicolor", "Virginica"))
    return [replace(grid, one_unit=True), cloud]


@register_table("wine", *_SKLEARN, "test", "alcohol malic_acid magnesium flavanoids color_intensity hue proline")
def _wine() -> list[Grid | Cloud]:
    from sklearn.datasets import load_wine

    names = {"alcohol": "Alcohol", "malic_acid": "Malic acid", "magnesium": "Magnesium", "flavanoids": "Flavanoids"}
    names |= {"color_intensity": "Color", "hue": "Hue", "proline": "Proline"}
    return _toy(load_wine, "Italian wines", names, ("Class 0", "Class 1", "Class 2"))


@register_table("diabetes", *_SKLEARN, "test", "age bmi bp s1 s2 s3 s6 target")
def _diabetes() -> list[Grid | Cloud]:
    from sklearn.datasets import load_diabetes

    frame = load_diabetes(as_frame=True, scaled=False).frame
    names = {"bmi": "BMI", "bp": "Blood press.", "s1": "Cholesterol", "s3": "HDL", "s2": "LDL", "s6": "Sugar"}
    frame = frame.assign(decade=frame["age"].floordiv(10).astype(int).map(lambda decade: f"{decade}0s"))
    return [
        frame_grid(frame.groupby("decade").size().to_frame("Number"), "Patients by age", additive=True),
        mean_grid(frame, "Patients by age", "decade", {**names, "target": "Progression"}),
        frame_cloud(frame, "Patients", {**names, "target": "Progression"}),
    ]


@register_table("breast_cancer", *_SKLEARN, "train", "radius texture perimeter area smoothness diagnosis")
def _breast_cancer() -> list[Grid | Cloud]:
    from sklearn.datasets import load_breast_cancer

    names = {
        f"mean {name}": name.title() for name in ("radius", "texture", "perimeter", "area", "smoothness", "symmetry")
    }
    return _toy(load_breast_cancer, "Tumour cells", names, ("Malignant", "Benign"))[1:]


@register_table("linnerud", *_SKLEARN, "train", "Chins Situps Jumps Weight Waist Pulse")
def _linnerud() -> list[Grid | Cloud]:
    from sklearn.datasets import load_linnerud

    frame = load_linnerud(as_frame=True).frame
    people = frame.set_index(frame.index.map(lambda row: f"Man {row + 1}"))
    names = {name: name for name in ("Chins", "Situps", "Jumps", "Weight", "Waist", "Pulse")}
    return [frame_grid(people, "Fitness club", one_unit=False), frame_cloud(frame, "Fitness club", names)]
