"""The tables about nature and measurement that `bokeh-sampledata` ships."""

from .tables import MONTHS, Cloud, Grid, count_grids, frame_cloud, frame_grid, mean_grid, series_grid
from .tables_bokeh import bokeh_table, months_by_year, read_bokeh


@bokeh_table("cows", "test", "butterfat age breed")
def _cows() -> list[Grid | Cloud]:
    frame = read_bokeh("cows.csv").replace({"breed": {"Holstein-Friesian": "Holstein"}})
    fat = frame.pivot_table(index="breed", columns="age", values="butterfat")
    return [frame_grid(fat, "Butterfat (%)")]


@bokeh_table("cycling", "train", "altitude power cadence distance speed", "CC0-1.0")
def _cycling() -> list[Grid | Cloud]:
    frame = read_bokeh("cycling.csv.gz")
    frame = frame.assign(km=frame["distance"].floordiv(1000).astype(int), speed=frame["speed"] * 3.6)
    means = frame.groupby("km").mean(numeric_only=True)
    return [
        series_grid(means.index, "Bike ride: power (W) by km", Power=means["power"]),
        series_grid(means.index, "Bike ride: speed by km", Speed=means["speed"]),
        series_grid(means.index, "Bike ride: height (m)", Height=means["altitude"]),
        frame_cloud(means, "Bike ride", {"altitude": "Height (m)", "power": "Power (W)", "speed": "Speed"}),
    ]


@bokeh_table("forensic_glass", "train", "RI Na Mg Al Si K Ca Ba type")
def _forensic_glass() -> list[Grid | Cloud]:
    kinds = {
        "WinF": "Float",
        "WinNF": "Window",
        "Head": "Headlamp",
        "Veh": "Car",
        "Con": "Container",
        "Tabl": "Tableware",
    }
    frame = read_bokeh("forensic_glass.csv").replace({"type": kinds})
    parts = ["Na", "Mg", "Al", "K", "Ca", "Ba"]
    means = frame.groupby("type")[parts].mean()
    return [
        frame_grid(frame.groupby("type").size().to_frame("pieces"), "Glass found", additive=True),
        frame_grid(means, "Content of glass (%)"),
        frame_grid(means.T, "Content of glass (%)", additive=True),
        frame_cloud(frame, "Glass pieces", {"RI": "Refraction", **{part: f"{part} (%)" for part in [*parts, "Si"]}}),
    ]


@bokeh_table("lincoln_weather", "test", "DATE TMAX TMIN")
def _lincoln_weather() -> list[Grid | Cloud]:
    import pandas as pd

    frame = read_bokeh("lincoln_weather.csv").dropna()
    monthly = pd.concat([months_by_year(frame, "DATE", column) for column in ("TMAX", "TMIN")])
    monthly.index = ["High", "Low"]
    days = frame.assign(day=pd.to_datetime(frame["DATE"]).dt.day_of_year)
    return [
        frame_grid(monthly, "Lincoln weather (°F)", ordered=True),
        frame_cloud(days, "Lincoln weather", {"TMIN": "Low (°F)", "TMAX": "High (°F)"}),
    ]


@bokeh_table(
    "penguins", "train", "species island bill_length_mm bill_depth_mm flipper_length_mm body_mass_g", "CC0-1.0"
)
def _penguins() -> list[Grid | Cloud]:
    names = {"bill_length_mm": "Bill len.", "bill_depth_mm": "Bill depth", "flipper_length_mm": "Flipper"}
    frame = read_bokeh("penguins.csv")
    frame = frame.assign(sex=frame["sex"].str.title())
    names |= {"body_mass_g": "Mass (g)"}
    return [
        *count_grids(frame, "Number of penguins", "species", "sex"),
        *count_grids(frame, "Number of penguins", "island", "sex"),
        mean_grid(frame, "Penguins", "species", names),
        frame_cloud(frame, "Penguins", names, "species"),
        frame_cloud(frame, "Penguins", names),
    ]


@bokeh_table("periodic_table", "train", "symbol metal atomic mass atomic radius melting boiling electronegativity")
def _periodic_table() -> list[Grid | Cloud]:
    frame = read_bokeh("elements.csv").iloc[:86]
    frame = frame.assign(mass=frame["atomic mass"].astype(str).str.strip("[]").astype(float))
    names = {
        "mass": "Mass",
        "atomic radius": "Radius (pm)",
        "melting point": "Melting (K)",
        "boiling point": "Boiling (K)",
    }
    names |= {"electronegativity": "Electroneg."}
    kinds = {"transition metal": "Transition", "alkali metal": "Alkali", "alkaline earth metal": "Earth alk."}
    kinds |= {"noble gas": "Noble gas", "nonmetal": "Nonmetal", "lanthanoid": "Lanthan."}
    sorts = frame["metal"].replace(kinds).str.capitalize()
    frame = frame.assign(sort=sorts, row=frame["period"].map(lambda period: f"period {period}"))
    return [
        frame_grid(frame.set_index("name")[list(names)].rename(columns=names), "Elements", one_unit=False),
        count_grids(frame, "Number of elements", "sort", "row")[0],
        frame_grid(frame.groupby("sort").size().to_frame("all"), "Number of elements", additive=True),
        frame_cloud(frame, "Elements", names),
    ]


@bokeh_table("sea_temperature", "train", "time temperature", "free to use and redistribute (NERACOOS)")
def _sea_temperature() -> list[Grid | Cloud]:
    import pandas as pd

    frame = read_bokeh("sea_surface_temperature.csv.gz").set_axis(["time", "celsius"], axis=1)
    times = pd.to_datetime(frame["time"])
    hours = frame.assign(month=times.dt.strftime("%b"), hour=times.dt.hour)
    daily = hours.pivot_table(index="month", columns="hour", values="celsius").reindex(MONTHS)
    monthly = months_by_year(frame, "time", "celsius")
    return [
        frame_grid(monthly.loc[[2016]], "Sea temperature (°C)", ordered=True),
        frame_grid(daily, "Sea by hour (°C)", ordered=True),
    ]
