"""Answers to questions about series, heat maps and box plots, read from the question's words and the scene alone."""

import re

import numpy as np

from leaml_hf.data.visual_arrays.conventions import COLOR_NAMES
from leaml_hf.data.visual_arrays.scenes import Scene
from leaml_hf.data.visual_arrays.wording import Question

YES_OR_NO = {True: "yes", False: "no"}
CHART_TYPES = {"grouped": "grouped bar", "stacked": "stacked bar", "heatmap": "heat map", "boxplot": "box",
               "hbar": "bar"}  # fmt: skip
GREATEST = r"tallest|highest|largest|biggest|thickest|darkest"


def named(text: str, names: list[str]) -> list[str]:
    """Those of some names that stand in a text, in its order; where one stands in another, the longer is meant."""
    found = []
    for name in sorted(names, key=len, reverse=True):
        for place in re.finditer(rf"(?<![\w.]){re.escape(name)}(?!\w)", text):
            if not any(start < place.end() and place.start() < stop for start, stop, _ in found):
                found.append((*place.span(), name))
    return [name for *_, name in sorted(found)]


def answer_kind(question: Question, scene: Scene) -> str:
    """By other means than the programs: tables by name, whose extremes are found by sorting."""
    text, marks = question.text, {mark.label: mark for mark in scene.marks}
    labels, columns = list(marks), list(scene.x_labels)
    series, places = named(text, labels), named(text, columns)
    upper = bool(re.search(GREATEST, text))

    def value(label: str, place: str) -> float:
        return float(marks[label].points[columns.index(place)])

    def total(place: str) -> float:
        return sum(value(label, place) for label in labels)

    def pick(names: list[str], key) -> str:
        return sorted(names, key=key)[-1 if upper else 0]

    match question.program:
        case "group_top" | "stack_part" | "column_peak":
            return pick(labels, lambda label: value(label, places[0]))
        case "group_peak" | "row_peak":
            return pick(columns, lambda place: value(series[0], place))
        case "group_compare":
            return YES_OR_NO[value(series[0], places[0]) > value(series[1], places[0])]
        case "group_change":
            return YES_OR_NO[value(series[0], places[0]) > value(series[0], places[1])]
        case "group_value" | "cell_value":
            return scene.tick_text(value(series[0], places[0]))
        case "count_series" | "count_rows":
            return str(len(labels))
        case "count_places" | "count_columns":
            return str(len(columns))
        case "stack_top":
            return pick(columns, total)
        case "over_half":
            return YES_OR_NO[value(series[0], places[0]) > total(places[0]) / 2]
        case "stack_compare":
            return YES_OR_NO[total(places[0]) > total(places[1])]
        case "stack_order":
            return scene.marks[-1 if "top" in text.split("the areas")[0].split("the stacks")[0] else 0].color
        case "stack_total":
            return scene.tick_text(round(total(places[0])))
        case "area_top" | "thickest":
            end = 0 if "left" in text else -1
            if question.program == "area_top" and scene.stacked:
                return labels[-1]
            return max(labels, key=lambda label: marks[label].points[end])
        case "areas_cross":
            colors = {mark.color: mark for mark in scene.marks}
            one, other = (marks[name] for name in series) if series else (colors[c] for c in named(text, COLOR_NAMES))
            gaps = one.points - other.points
            return YES_OR_NO[bool(gaps[0] * gaps[-1] < 0)]
        case "areas_stacked":
            return "stacked" if scene.stacked else "overlap"
        case "cell_row" | "cell_column":
            cells = [(value(label, place), label, place) for label in labels for place in columns]
            return sorted(cells)[-1 if upper else 0][1 if question.program == "cell_row" else 2]
        case "cell_compare":
            (row, other), (column, second) = series, places
            first, last = value(row, column), value(other, second)
            if text.startswith("Compared"):
                first, last = last, first
            return YES_OR_NO[(first > last) == ("darker" in text)]
        case _:
            return answer_boxes(question, scene, series, upper)


def answer_boxes(question: Question, scene: Scene, series: list[str], upper: bool) -> str:
    marks = {mark.label: mark for mark in scene.marks}
    lower_whisker, bottom, median, top, upper_whisker = np.array([mark.points[:5] for mark in marks.values()]).T
    labels, outlying = list(marks), {name: len(mark.points) > 5 for name, mark in marks.items()}
    at = [labels.index(name) for name in series]

    def extreme(values: np.ndarray) -> str:
        return labels[int(values.argmax() if upper else values.argmin())]

    match question.program:
        case "median_top":
            return extreme(median)
        case "median_color":
            return marks[extreme(median)].color
        case "box_spread":
            return extreme(top - bottom)
        case "whisker_top":
            return extreme(upper_whisker if upper else lower_whisker)
        case "has_outliers":
            return YES_OR_NO[outlying[series[0]]]
        case "count_outlying":
            return str(sum(outlying.values()))
        case "median_compare":
            return YES_OR_NO[bool(median[at[0]] > median[at[1]])]
        case "over_quartile":
            return YES_OR_NO[bool(median[at[0]] > top[at[1]])]
        case "median_value":
            return scene.tick_text(float(median[at[0]]))
