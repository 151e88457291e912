"""The tables about people, trade and travel that `bokeh-sampledata` ships, and how its tables are read."""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from .tables import (
    MAX_LABEL,
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


def bokeh_table(name: str, split: str, columns: str, licence: str = "public domain") -> Callable:
    """Registers a table whose terms, in the package's own inventory, allow charts of it to be passed on."""
    return register_table(name, "bokeh-sampledata", licence, split, columns)


def _path(file: str) -> str:
    return str(package_file("bokeh_sampledata", "bokeh-sampledata", "_data", file))


def read_bokeh(file: str, **options: object) -> "pd.DataFrame":
    """A CSV file of the package."""
    import pandas as pd

    return pd.read_csv(_path(file), skipinitialspace=True, **options)


def months_by_year(frame: "pd.DataFrame", date: str, value: str) -> "pd.DataFrame":
    """The mean of `value` by year (rows) and month (columns)."""
    import pandas as pd

    dates = pd.to_datetime(frame[date])
    means = frame.groupby([dates.dt.year, dates.dt.month])[value].mean().unstack()
    means.columns = [MONTHS[month - 1] for month in means.columns]
    return means


@bokeh_table("airport_routes", "validation", "Airline Source Destination City Altitude")
def _airport_routes() -> list[Grid | Cloud]:
    routes, airports = read_bokeh("routes.csv.gz"), read_bokeh("airports.csv")
    big = routes["Source"].value_counts().index[:14]
    routes = routes[routes["Source"].isin(big)]
    names = {"Latitude": "Latitude", "Longitude": "Longitude", "Altitude": "Altitude (ft)"}
    heights = airports.drop_duplicates("City").set_index("City")[["Altitude"]]
    return [
        *count_grids(routes, "Number of routes", "Airline", "Source"),
        frame_grid(heights.rename(columns={"Altitude": "altitude (ft)"}), "US airports"),
        frame_cloud(airports[airports["Country"] == "United States"], "US airports", names),
    ]


@bokeh_table("autompg", "test", "mpg cyl displ hp weight accel yr origin", "CC0-1.0")
def _autompg() -> list[Grid | Cloud]:
    frame = read_bokeh("auto-mpg.csv")
    frame = frame.assign(
        origin=frame["origin"].map({1: "USA", 2: "Europe", 3: "Japan"}),
        year=frame["yr"] + 1900,
        maker=frame["name"].str.split().str[0].str.title().replace({"Amc": "AMC", "Bmw": "BMW"}),
    )
    names = {"mpg": "Miles/gallon", "hp": "Horsepower", "weight": "Weight (lb)", "displ": "Engine size"}
    makers = frame[frame["maker"].map(frame["maker"].value_counts()) >= 8]
    yearly = frame.pivot_table(index="origin", columns="year", values="mpg")
    return [
        count_grids(makers, "Number of cars", "maker", "year")[0],
        count_grids(frame, "Number of cars", "origin", "year")[0],
        mean_grid(makers, "Cars", "maker", names),
        frame_grid(yearly, "Miles per gallon", ordered=True),
        frame_cloud(frame, "Cars of 1970-82", names, "origin"),
        frame_cloud(frame, "Cars of 1970-82", {**names, "year": "Year"}),
    ]


@bokeh_table("autompg2", "test", "manufacturer displ cyl cty hwy class drv")
def _autompg2() -> list[Grid | Cloud]:
    frame = read_bokeh("auto-mpg2.csv")
    frame = frame.assign(manufacturer=frame["manufacturer"].str.title(), cars=frame["class"].str.title())
    frame = frame.assign(drive=frame["drv"].map({"f": "Front", "r": "Rear", "4": "All"}))
    names = {"cty": "City mpg", "hwy": "Highway mpg", "displ": "Engine (l)"}
    return [
        *count_grids(frame, "Number of models", "cars", "drive"),
        count_grids(frame, "Number of models", "manufacturer", "year")[0],
        mean_grid(frame, "Cars", "manufacturer", names),
        mean_grid(frame, "Cars", "cars", names),
        frame_cloud(frame, "Cars", names, "drive"),
        frame_cloud(frame, "Cars", names),
    ]


@bokeh_table("degrees", "test", "Year and 17 subjects", "CC0-1.0")
def _degrees() -> list[Grid | Cloud]:
    frame = read_bokeh("percent-bachelors-degrees-women-usa.csv").set_index("Year")
    short = {"Agriculture": "Farming", "Architecture": "Building", "Art and Performance": "Arts"}
    short |= {"Communications and Journalism": "Media", "Computer Science": "Computing", "Engineering": "Engineer."}
    short |= {"Foreign Languages": "Languages", "Health Professions": "Health", "Math and Statistics": "Math"}
    short |= {
        "Physical Sciences": "Physics",
        "Public Administration": "Public",
        "Social Sciences and History": "Social",
    }
    frame = frame.rename(columns=short)
    return [
        frame_grid(frame.T, "Women's share of degrees (%)", ordered=True),
        frame_cloud(frame.reset_index(), "Women's degrees (%)", {name: name for name in ("Year", *frame.columns)}),
    ]


@bokeh_table("emissions", "train", "country year emissions")
def _emissions() -> list[Grid | Cloud]:
    frame = read_bokeh("emissions.csv.gz").astype({"year": int})
    frame = frame.replace({"country": {"United States": "USA", "United Kingdom": "UK", "South Africa": "S. Africa"}})
    return [
        frame_grid(
            frame.pivot_table(index="country", columns="year", values="emissions"), "CO2 per person (t)", ordered=True
        )
    ]


@bokeh_table("gapminder", "test", "country year fertility life_expectancy population", "CC-BY-2.0")
def _gapminder() -> list[Grid | Cloud]:
    short = {"United States": "USA", "United Kingdom": "UK", "South Africa": "S. Africa", "South Korea": "S. Korea"}
    groups = read_bokeh("gapminder_regions.csv").set_index("Country")["Group"]
    areas = {"Europe & Central Asia": "Europe", "Sub-Saharan Africa": "Africa", "East Asia & Pacific": "East Asia"}
    frame = read_bokeh("gapminder.csv.gz")
    frame = frame.assign(group=frame["country"].map(groups).replace(areas)).replace({"country": short})
    frame = frame.assign(population=frame["population"] / 1e6)
    titles = {"life_expectancy": "Life expectancy", "population": "Population (million)"}
    grids = [
        frame_grid(frame.pivot_table(index="country", columns="year", values=column), title, ordered=True)
        for column, title in titles.items()
    ]
    large = frame[frame["population"] >= 5].pivot_table(index="country", columns="year", values="population")
    names = {"fertility": "Births", "life_expectancy": "Life exp."}
    clouds = [
        frame_cloud(
            frame[(frame["year"] == year) & frame["group"].isin(["Europe", "Africa", "America"])], title, names, by
        )
        for year in (1965, 1985, 2005)
        for title, by in ((f"Countries, {year}", None), (f"Continents, {year}", "group"))
    ]
    return [*grids, frame_grid(large.dropna(), "Population (million)", ordered=True, additive=True), *clouds]


@bokeh_table("olympics2014", "test", "name gold silver bronze total", "BSD-3-Clause")
def _olympics2014() -> list[Grid | Cloud]:
    import pandas as pd

    with open(_path("olympics2014.json"), encoding="utf-8") as file:
        teams = json.load(file)["data"]
    frame = pd.DataFrame([team["medals"] for team in teams], index=[team["abbr"] for team in teams])
    frame = frame[frame["total"] > 0]
    medals = frame[["gold", "silver", "bronze"]]
    return [
        frame_grid(frame, "2014 medals", additive=True),
        frame_grid(medals.rename(columns=str.title).T, "2014 medals", additive=True),
        frame_cloud(frame, "2014 medals", {name: name.title() for name in medals}),
    ]


@bokeh_table("perceptions", "train", "answers to 17 phrases", "MIT")
def _perceptions() -> list[Grid | Cloud]:
    frame = read_bokeh("probly.csv")
    short = {
        "Almost Certainly": "Almost",
        "Highly Likely": "Highly",
        "Very Good Chance": "Very good",
        "Better Than Even": "Better",
    }
    short |= {"About Even": "Even", "We Doubt": "Doubt", "Probably Not": "Prob. not", "Little Chance": "Little"}
    answers = frame.rename(columns=short).T
    summary = answers.agg(["mean", "median", "min", "max"], axis=1)
    people = answers.rename(columns=lambda person: f"person {person + 1}")
    return [frame_grid(summary, "How likely (%)"), frame_grid(people, "How likely (%)")]


@bokeh_table("population", "train", "Location Year AgeGrp Value", "CC-BY-3.0-IGO")
def _population() -> list[Grid | Cloud]:
    frame = read_bokeh("population.csv.gz", usecols=["LocID", "Location", "Year", "AgeGrpStart", "Value"])
    frame = frame[frame["Year"].le(2020) & frame["LocID"].lt(900)].replace(
        {"Location": {"United States of America": "USA", "United Kingdom": "UK"}}
    )
    frame = frame[frame["Location"].str.len() <= MAX_LABEL]
    totals = frame.pivot_table(index="Location", columns="Year", values="Value", aggfunc="sum") / 1e6
    totals = totals[totals.min(axis=1) > 1]
    starts = np.minimum(frame["AgeGrpStart"] // 20 * 20, 60)
    ages = frame.assign(age=starts.map(lambda age: "60+" if age == 60 else f"{age}-{age + 19}"))
    ages = ages[ages["Year"].eq(2000) & ages["Location"].isin(totals.index)]
    ages = ages.pivot_table(index="age", columns="Location", values="Value", aggfunc="sum") / 1e6
    return [
        frame_grid(totals, "People (million)", ordered=True, additive=True),
        frame_grid(ages, "Age of people", additive=True),
    ]


@bokeh_table("sprint", "train", "Country Medal Time Year", "BSD-3-Clause")
def _sprint() -> list[Grid | Cloud]:
    frame = read_bokeh("sprint.csv").astype({"Year": int})
    frame = frame.assign(Medal=frame["Medal"].str.title())
    times = frame.pivot_table(index="Medal", columns="Year", values="Time")
    first = frame[frame["Medal"] == "Gold"]
    return [
        *count_grids(frame, "100 m medals", "Country", "Medal"),
        frame_grid(frame.groupby("Country").size().to_frame("all"), "100 m medals", additive=True),
        frame_grid(times, "100 m time (s)", ordered=True),
        frame_cloud(first, "100 m winners", {"Year": "Year", "Time": "Time (s)"}),
        frame_cloud(frame, "100 m medals", {"Year": "Year", "Time": "Time (s)"}, "Medal"),
    ]


@bokeh_table("stocks", "test", "Ticker Date Close Volume")
def _stocks() -> list[Grid | Cloud]:
    frame = read_bokeh("stocks.csv.gz")
    frame = frame.assign(
        year=frame["Date"].str[:4].astype(int), million=frame["Volume"] / 1e6, month=frame["Date"].str[:7]
    )
    closing = frame.pivot_table(index="Ticker", columns="year", values="Adj Close")
    traded = frame.pivot_table(index="Ticker", columns="year", values="million")
    months = frame.pivot_table(index="month", columns="Ticker", values="Adj Close").dropna()
    recent = months_by_year(frame[(frame["Ticker"] == "IBM") & frame["year"].between(2001, 2012)], "Date", "Adj Close")
    return [
        frame_grid(closing, "Share price ($)", ordered=True),
        frame_grid(traded, "Shares traded (million)", ordered=True, additive=True),
        frame_grid(recent, "IBM share ($)", ordered=True),
        frame_cloud(months, "Share prices ($)", {name: name for name in months.columns}),
    ]


@bokeh_table("superstore", "test", "Segment Region Category Sub-Category Sales Quantity Profit State", "CC0-1.0")
def _superstore() -> list[Grid | Cloud]:
    frame = read_bokeh("SampleSuperstore.csv.gz").rename(columns={"Sub-Category": "Item"})
    frame = frame.replace({"Category": {"Office Supplies": "Office"}, "Segment": {"Home Office": "Home"}})
    grids = [
        frame_grid(frame.pivot_table(index=by, columns=across, values=value, aggfunc="sum"), title, additive=True)
        for value, title in {"Sales": "Sales ($)", "Quantity": "Items sold"}.items()
        for by, across in (("Item", "Region"), ("State", "Category"), ("Item", "Segment"), ("Region", "Category"))
    ]
    items = frame.groupby("Item")[["Sales", "Quantity", "Profit"]].sum()
    return [*grids, frame_cloud(items, "Items", {"Sales": "Sales ($)", "Quantity": "Number", "Profit": "Profit ($)"})]


@bokeh_table("titanic", "test", "class age sex survived")
def _titanic() -> list[Grid | Cloud]:
    frame = read_bokeh("titanic_all.csv")
    frame = frame[frame["class"].isin(["1st", "2nd", "3rd"])]
    frame = frame.assign(fate=frame["survived"].map({0: "Died", 1: "Survived"}), sex=frame["sex"].str.title())
    aged = frame.dropna(subset=["age"])
    decade = aged["age"].floordiv(10).astype(int)
    aged = aged.assign(decade=decade.map(lambda start: f"{start * 10}-{start * 10 + 9}"))
    return [
        count_grids(frame, "Titanic passengers", "class", "fate")[0],
        count_grids(frame, "Titanic passengers", "class", "sex")[0],
        count_grids(aged, "Ages on the Titanic", "decade", "class")[0],
        count_grids(aged, "Ages on the Titanic", "decade", "fate")[0],
        count_grids(aged, "Ages on the Titanic", "decade", "sex")[0],
    ]


@bokeh_table("unemployment09", "train", "county state labour employed unemployed rate")
def _unemployment09() -> list[Grid | Cloud]:
    frame = read_bokeh("unemployment09.csv.gz", header=None, thousands=",", usecols=[3, 5, 6, 7, 8])
    frame.columns = ["county", "labour", "employed", "unemployed", "rate"]
    frame = frame.assign(state=frame["county"].str.extract(r", ([A-Z]{2})$", expand=False))
    sums = frame.groupby("state")[["labour", "unemployed"]].sum() / 1e6
    rates = frame.groupby("state")[["rate"]].mean()
    return [
        frame_grid(
            sums.rename(columns={"labour": "workers (million)", "unemployed": "jobless (million)"}),
            "2009",
            additive=True,
            one_unit=False,
        ),
        frame_grid(rates.rename(columns={"rate": "2009"}), "Unemployment (%)"),
    ]


@bokeh_table("unemployment1948", "train", "Year Jan-Dec Annual")
def _unemployment1948() -> list[Grid | Cloud]:
    frame = read_bokeh("unemployment1948.csv").set_index("Year")
    return [
        series_grid(frame.index, "US unemployment (%)", Rate=frame["Annual"]),
        frame_grid(frame[list(MONTHS)], "US unemployment (%)", ordered=True),
        frame_grid(frame[list(MONTHS)].T, "US unemployment (%)", ordered=True),
    ]


@bokeh_table("us_marriages", "train", "Year Marriages Divorces Population")
def _us_marriages() -> list[Grid | Cloud]:
    frame = read_bokeh("us_marriages_divorces.csv").dropna()
    names = {"Year": "Year", "Marriages_per_1000": "Marriages", "Divorces_per_1000": "Divorces"}
    weddings, divorces = frame["Marriages"] / 1000, frame["Divorces"] / 1000
    return [
        series_grid(frame["Year"], "Per 1,000 people", Married=frame[[*names][1]], Divorced=frame[[*names][2]]),
        series_grid(frame["Year"], "US couples (1,000s)", Married=weddings, Divorced=divorces),
        frame_cloud(frame, "US couples per 1,000", names),
    ]
