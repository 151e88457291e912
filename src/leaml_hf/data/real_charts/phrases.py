"""How the questions about real charts are worded: several phrases for each form."""

NOUNS = {"bar": "bar", "hbar": "bar", "pie": "slice", "line": "line", "scatter": "dot"}
MOST = {
    "bar": ("tallest", "shortest"),
    "hbar": ("longest", "shortest"),
    "pie": ("largest", "smallest"),
    "scatter": ("highest", "lowest"),
}
MORE = {"bar": ("taller", "shorter"), "hbar": ("longer", "shorter"), "pie": ("bigger", "smaller")}
TEMPLATES = {
    "extreme_color": (
        "What colour is the {most} {noun}?",
        "Look for the {most} {noun}: which colour is it?",
        "The {most} {noun} is drawn in which colour?",
        "Name the colour of the {most} {noun}.",
    ),
    "extreme_color_line": (
        "What colour is the line that ends {most}?",
        "At the right-hand end, which colour is {most}?",
        "Follow the lines to the right: which colour finishes {most}?",
        "Name the colour of the line that finishes {most}.",
    ),
    "extreme_label": (
        "Which one has the {most} {noun}?",
        "Whose {noun} is the {most}?",
        "What is the {most} {noun} called?",
        "Read the name of the {most} {noun}.",
    ),
    "extreme_label_line": (
        "Which line ends {most}?",
        "Whose line finishes {most} on the right?",
        "What is the line called that ends {most}?",
    ),
    "count": (
        "How many {noun}s are there?",
        "Count the {noun}s in the chart.",
        "How many {noun}s has the chart got?",
        "How many {noun}s can you see?",
    ),
    "count_colors": (
        "How many colours of dots are there?",
        "In how many different colours are the dots drawn?",
        "How many groups of dots does the legend show?",
    ),
    "compare_color": (
        "Is the {first} {noun} {more} than the {second} one?",
        "Would you say the {first} {noun} is {more} than the {second} {noun}?",
        "Compare {first} with {second}: is the {first} {noun} {more}?",
    ),
    "compare_color_line": (
        "Does the {first} line end {more} than the {second} one?",
        "On the right, is the {first} line {more} than the {second} line?",
        "Does {first} finish {more} than {second}?",
    ),
    "compare_label": (
        "Is the {noun} for {first} {more} than the one for {second}?",
        "Does {first} have a {more} {noun} than {second}?",
        "Compare {first} and {second}: is the {noun} of {first} {more}?",
    ),
    "compare_place": (
        "Is the {first} {noun} {more} than the {second}?",
        "Would you say the {first} {noun} is {more} than the {second} one?",
        "Look at both ends: is the {first} {noun} {more} than the {second}?",
    ),
    "label_to_color": (
        "What colour is the {noun} of {label}?",
        "Which colour stands for {label}?",
        "In which colour is {label} drawn?",
        "Find {label}. What colour is it?",
    ),
    "color_to_label": (
        "What does the {color} {noun} stand for?",
        "Whose {noun} is {color}?",
        "Which name belongs to the {color} {noun}?",
        "Read the label of the {color} {noun}.",
    ),
    "position_bar": (
        "Counting from the left, which bar is the {most}?",
        "Which bar from the left is the {most}?",
        "The {most} bar is number what from the left?",
    ),
    "position_hbar": (
        "Counting from the top, which bar is the {most}?",
        "Which bar from the top is the {most}?",
        "The {most} bar is number what from the top?",
    ),
    "position_scatter": (
        "Counting from the left, which dot is the {most}?",
        "Which dot from the left is the {most}?",
        "The {most} dot is number what from the left?",
    ),
    "trend": (
        "Overall, does the line go up or down?",
        "From left to right, is the line heading up or down?",
        "Taken as a whole, does this go up or down?",
    ),
    "trend_color": (
        "Overall, does the {color} line go up or down?",
        "From left to right, is the {color} line heading up or down?",
        "Has the {color} line gone up or down by the end?",
    ),
    "share": (
        "Is the largest slice more than {part} of the pie?",
        "Does the biggest slice take up more than {part} of the circle?",
        "Would you say the largest slice covers more than {part}?",
    ),
    "value_extreme": (
        "What number is written at the {most} bar?",
        "Read the number at the {most} bar.",
        "Which number does the {most} bar carry?",
    ),
    "value_label": (
        "What number is written at the bar of {label}?",
        "Read the number that belongs to {label}.",
        "Which number does {label} have?",
    ),
    "value_tick": (
        "Which number on the axis is closest to the end of the {most} bar?",
        "Near which axis number does the {most} bar end?",
        "Read the axis: the {most} bar reaches roughly which number?",
    ),
    "value_tick_line": (
        "Which number on the axis is closest to where the line ends?",
        "Near which axis number does the line finish?",
        "Read the axis: the line ends at roughly which number?",
    ),
    "correlation": (
        "Is the correlation of the dots positive, negative or none?",
        "What correlation do the dots show: positive, negative or none?",
        "As we move right, how are the heights correlated: positive, negative or none?",
    ),
    "orientation": (
        "Are the bars vertical or horizontal?",
        "Do the bars run vertical or horizontal?",
        "Vertical or horizontal: how are the bars drawn?",
    ),
    "legend": (
        "Does the chart have a legend?",
        "Is there a legend that explains the colours?",
        "Can you see a legend?",
    ),
    "one_color": (
        "Are all the {noun}s drawn in one colour?",
        "Do all the {noun}s have the same colour?",
        "Is a single colour used for every {noun}?",
    ),
    "more_than": (
        "Are there more than {limit} {noun}s?",
        "Does the chart show more than {limit} {noun}s?",
        "Can you count more than {limit} {noun}s?",
    ),
    "side": (
        "Is the {most} {noun} in the {one} or the {other} half?",
        "In which half is the {most} {noun}, {one} or {other}?",
        "{One} or {other}: in which half do you find the {most} {noun}?",
    ),
    "second_color": (
        "What colour is the second {most} {noun}?",
        "Which colour has the {noun} that comes second after the {most} one?",
        "Leave out the {most} {noun}: what colour is the {most} one now?",
    ),
    "twice": (
        "Is the {most} {noun} more than twice the {least} one?",
        "Would two of the {least} {noun} still be less than the {most} one?",
        "Does the {most} {noun} have over double the size of the {least}?",
    ),
    "peak": (
        "Is the highest point at the start, in the middle or at the end?",
        "Where does the line peak: start, middle or end?",
        "Start, middle or end: where is the line highest?",
    ),
    "peak_color": (
        "Is the highest point of the {color} line at the start, in the middle or at the end?",
        "Where does the {color} line peak: start, middle or end?",
        "Start, middle or end: where is the {color} line highest?",
    ),
    "chart_type": (
        "What type of chart is this: bar, line, pie or scatter?",
        "Which kind of chart am I showing you: bar, line, pie or scatter?",
        "Is this a bar, line, pie or scatter chart?",
    ),
}
