"""The names that marks carry: sets of words that stand together, numbered and ranged names, codes and invented words.

The vocabulary is open on purpose: a base that has only read a fixed list of words cannot read those of a new domain.
"""

import re

import numpy as np

# Ordered sets keep their order in a picture.
ORDERED_WORDS: dict[str, tuple[str, ...]] = {
    "month": tuple(["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]),
    "long month": tuple(["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"]),
    "weekday": tuple(["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]),
    "long weekday": tuple(["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]),
    "letter": tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ"),
    "quarter": ("Q1", "Q2", "Q3", "Q4"),
    "grade": ("Low", "Fair", "Medium", "Good", "High", "Top"),
    "answer": ("Never", "Rarely", "Seldom", "Often", "Usually", "Always"),
    "size": ("Tiny", "Small", "Middle", "Large", "Huge"),
    "age": ("Baby", "Child", "Teen", "Adult", "Senior"),
    "school": ("Nursery", "Primary", "Middle", "College", "Bachelor", "Master", "Doctor"),
    "part of day": ("Dawn", "Morning", "Noon", "Evening", "Night"),
    "numeral": ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
}  # fmt: skip
FREE_WORDS: dict[str, tuple[str, ...]] = {
    name: tuple(words.split("|"))
    for name, words in {
        "region": "North|South|East|West|Centre|Coast|Inland|Islands|Uplands|Delta",
        "continent": "Africa|Asia|Europe|America|Oceania|Arctic",
        "country": "Spain|Italy|France|Norway|Poland|Greece|Japan|China|India|Brazil|Kenya|Egypt|Chile|Peru|Cuba|Canada|"
        "Mexico|Turkey|Russia|Germany|Sweden|Finland|Denmark|Iceland|Ireland|Portugal|Hungary|Romania|Bulgaria|Croatia|"
        "Serbia|Albania|Ukraine|Belarus|Estonia|Latvia|Morocco|Algeria|Tunisia|Libya|Sudan|Ethiopia|Somalia|Uganda|"
        "Tanzania|Rwanda|Zambia|Zimbabwe|Angola|Namibia|Nigeria|Ghana|Senegal|Mali|Niger|Chad|Gabon|Iran|Iraq|Syria|"
        "Israel|Jordan|Lebanon|Kuwait|Qatar|Oman|Yemen|Pakistan|Nepal|Bhutan|Myanmar|Thailand|Vietnam|Laos|Cambodia|"
        "Malaysia|Indonesia|Korea|Mongolia|Australia|Fiji|Samoa|Tonga|Argentina|Bolivia|Colombia|Ecuador|Uruguay|"
        "Paraguay|Venezuela|Panama|Guatemala|Honduras|Nicaragua|Haiti|Jamaica|Austria|Belgium|Slovakia|Slovenia|"
        "Cyprus|Malta|Georgia|Armenia|Lithuania",
        "capital": "Paris|London|Berlin|Madrid|Rome|Vienna|Prague|Warsaw|Budapest|Athens|Lisbon|Dublin|Oslo|Stockholm|"
        "Helsinki|Moscow|Ankara|Cairo|Nairobi|Lagos|Delhi|Beijing|Tokyo|Seoul|Manila|Jakarta|Sydney|Lima|Bogota|Quito|"
        "Havana|Ottawa|Toronto|Boston|Chicago|Denver|Seattle|Dallas|Houston|Miami|Atlanta|Phoenix|Detroit|Geneva|Milan",
        "state": "Texas|Ohio|Utah|Iowa|Maine|Nevada|Oregon|Kansas|Idaho|Alaska|Hawaii|Florida|Alabama|Arizona|Montana|"
        "Vermont|Indiana|Illinois|Michigan|Colorado|Delaware|Kentucky|Maryland|Missouri|Nebraska|Oklahoma|Virginia|"
        "Wyoming|New York|New Jersey|Tennessee|Louisiana|Minnesota|Wisconsin|California|Washington",
        "fruit": "Apple|Pear|Plum|Grape|Lemon|Mango|Cherry|Peach|Melon|Kiwi|Banana|Lime|Fig|Papaya|Berry|Apricot",
        "vegetable": "Carrot|Onion|Potato|Tomato|Garlic|Pepper|Cabbage|Spinach|Lettuce|Pumpkin|Radish|Celery|Leek|Pea",
        "animal": "Cat|Dog|Horse|Cow|Sheep|Goat|Duck|Hen|Pig|Fox|Lion|Tiger|Bear|Wolf|Deer|Rabbit|Mouse|Eagle|Hawk|Owl|"
        "Swan|Whale|Shark|Salmon|Trout|Camel|Zebra|Monkey|Panda|Otter|Badger|Squirrel|Elephant|Giraffe",
        "subject": "Maths|Music|Art|Sport|Latin|Physics|History|Drama|Biology|Chemistry|Geography|English|French|"
        "Spanish|Law|Economics|Medicine|Nursing|Business|Philosophy|Engineering",
        "material": "Wood|Steel|Glass|Stone|Paper|Gold|Cotton|Wool|Iron|Copper|Silver|Plastic|Rubber|Clay|Leather|Silk",
        "element": "Hydrogen|Helium|Carbon|Nitrogen|Oxygen|Neon|Sodium|Sulfur|Calcium|Zinc|Lead|Tin|Nickel|Chlorine|"
        "Argon|Boron|Lithium|Titanium|Uranium|Platinum",
        "transport": "Car|Bus|Train|Bike|Ship|Plane|Tram|Walk|Truck|Ferry|Metro|Taxi|Van|Boat|Scooter|Air|Rail|Road",
        "person": "Anna|Ben|Carl|Dora|Emma|Finn|Gina|Hugo|Ida|Jack|Kate|Leo|Mary|Nina|Oscar|Paul|Rosa|Sara|Tom|Vera|"
        "Adam|Alice|Bob|Clara|David|Ella|Frank|Grace|Henry|Irene|James|Julia|Kevin|Laura|Martin|Nora|Peter|Robert|"
        "Sophie|Thomas|Victor|William|Smith|Jones|Baker|Taylor|Wilson|Johnson|Miller|Davis|Garcia|Nixon|Carter|Reagan",
        "food": "Bread|Rice|Pasta|Fish|Meat|Soup|Cake|Milk|Eggs|Beans|Cheese|Butter|Sugar|Salt|Honey|Coffee|Tea|Juice|"
        "Wine|Beer|Water|Pizza|Salad|Corn|Wheat|Barley|Oats|Cereal",
        "company": "Acme|Nova|Apex|Orion|Vertex|Delta|Sigma|Omega|Atlas|Titan|Zenith|Polar|Summit|Pioneer|Horizon|"
        "Phoenix|Aurora|Falcon|Comet|Meridian",
        "maker": "Ford|Fiat|Honda|Toyota|Nissan|Mazda|Volvo|Audi|Opel|Saab|Renault|Peugeot|Subaru|Suzuki|Dodge|Buick",
        "industry": "Mining|Farming|Trade|Finance|Retail|Energy|Health|Schools|Building|Fishing|Forestry|Tourism|"
        "Transport|Media|Banking|Defence|Housing|Services|Industry|Research",
        "fuel": "Coal|Gas|Oil|Solar|Wind|Hydro|Nuclear|Wood|Diesel|Petrol|Biomass|Geothermal",
        "weather": "Sun|Rain|Snow|Fog|Hail|Storm|Wind|Cloud|Frost|Sleet|Thunder|Drizzle",
        "sport": "Football|Tennis|Golf|Rugby|Hockey|Boxing|Judo|Rowing|Sailing|Skiing|Cycling|Running|Swimming|"
        "Cricket|Baseball|Handball|Fencing|Archery|Diving|Basketball",
        "job": "Doctor|Nurse|Teacher|Farmer|Driver|Cook|Baker|Pilot|Lawyer|Clerk|Artist|Miner|Sailor|Engineer|"
        "Manager|Worker|Student|Soldier|Officer|Painter|Retired",
        "household": "Men|Women|Boys|Girls|Single|Married|Couple|Family|Children|Parents|Urban|Rural|Male|Female",
        "body": "Heart|Lung|Liver|Brain|Skin|Bone|Kidney|Eye|Ear|Nose|Hand|Foot|Knee|Neck|Back|Blood|Muscle|Stomach",
        "plant": "Oak|Pine|Birch|Maple|Elm|Ash|Rose|Tulip|Lily|Daisy|Iris|Moss|Fern|Ivy|Cactus|Bamboo|Willow|Cedar",
        "planet": "Mercury|Venus|Earth|Mars|Jupiter|Saturn|Uranus|Neptune|Pluto|Moon",
        "river": "Nile|Amazon|Rhine|Danube|Volga|Thames|Seine|Ganges|Congo|Mekong|Elbe|Loire|Tiber|Yukon|Missouri",
        "house": "Kitchen|Bath|Garden|Garage|Cellar|Attic|Hall|Office|Bedroom|Living|Balcony|Roof",
        "tool": "Hammer|Saw|Drill|Wrench|Pliers|File|Axe|Spade|Rake|Ladder|Brush|Knife|Scissors",
        "money": "Rent|Food|Travel|Savings|Tax|Loans|Gifts|Clothes|Health|Phone|Fuel|Books|Pets|Toys|Insurance",
        "party": "Labour|Liberal|Centre|Reform|Union|Left|Right|Social|National|People|Freedom|Other",
        "software": "Python|Java|Ruby|Rust|Swift|Scala|Perl|Basic|Linux|Windows|Android|Chrome|Firefox|Safari",
        "language": "English|Spanish|Hindi|Arabic|Bengali|Russian|German|Korean|Turkish|Italian|Dutch|Greek|Polish",
        "instrument": "Piano|Violin|Guitar|Drums|Flute|Harp|Cello|Trumpet|Organ|Banjo|Oboe|Tuba",
        "group": "Control|Placebo|Treated|Base|Pilot|Test|Before|After|Early|Late|First|Second|Total|Mean|None|Other",
        "verdict": "Yes|No|Maybe|Unsure|Agree|Disagree|Neutral|Likely|Unlikely|Certain|Unknown|Approve|Reject",
    }.items()
}
_COUNTED = ("Day", "Week", "Year", "Group", "Class", "Team", "Item", "Site", "Lot", "Plot", "Case", "Run", "Zone", "Area",
            "Line", "Shop", "Unit", "Type", "Room", "No.", "Stage", "Level", "Step", "Phase", "Model", "Cow", "Batch")  # fmt: skip
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_ONSETS = ("b", "br", "c", "ch", "d", "dr", "f", "fl", "g", "gr", "h", "j", "k", "l", "m", "n", "p", "pl", "qu", "r", "s",
           "sh", "st", "t", "th", "tr", "v", "w", "y", "z")  # fmt: skip
_NUCLEI = ("a", "e", "i", "o", "u", "ai", "ea", "ee", "ou", "y")
_CODAS = ("", "", "", "l", "n", "r", "s", "t", "nd", "ck", "m", "x", "rt", "ng")
# parts of words that chance should not put into a picture; harmless names with them are left out, too
_RUDE = re.compile("anal|anus|arse|ass|bitch|bum|cock|coon|crap|cum|cunt|damn|dick|dyke|fag|fuc|fuk|gook|hell|homo|jap|"
                   "kike|kkk|milf|nazi|nig|paki|penis|piss|poo|porn|pube|rape|semen|sex|shit|slut|spic|tit|turd|twat|"
                   "vag|wank|whor", re.IGNORECASE)  # fmt: skip


def _code(rng: np.random.Generator) -> str:
    return "".join(_LETTERS[i] for i in rng.integers(26, size=rng.integers(2, 5)))


def _invented(rng: np.random.Generator) -> str:
    """One to three syllables, now and then shortened with a dot or joined to a number or a second word."""
    syllables = [
        _ONSETS[rng.integers(len(_ONSETS))] + _NUCLEI[rng.integers(len(_NUCLEI))] + _CODAS[rng.integers(len(_CODAS))]
        for _ in range(rng.integers(1, 4))
    ]
    word = "".join(syllables)[:10]
    word = word.capitalize() if rng.random() < 0.8 else word
    ending = rng.random()
    if ending < 0.08:
        return f"{word[:6]}."
    return f"{word[:7]} {rng.integers(1, 100)}" if ending < 0.14 else word


def _series(rng: np.random.Generator, n: int) -> list[str]:
    """`n` names that count on: numbered things, years, ranges, plain numbers."""
    kind = rng.integers(5)
    if kind == 0:
        noun, first, step = _COUNTED[rng.integers(len(_COUNTED))], rng.integers(1, 10), rng.integers(1, 4)
        return [f"{noun} {first + step * i}" for i in range(n)]
    if kind == 1:
        noun, first = _COUNTED[rng.integers(len(_COUNTED))], rng.integers(0, 26 - n + 1)
        return [f"{noun} {_LETTERS[first + i]}" for i in range(n)]
    if kind == 2:
        width, low = (5, 10, 20, 25, 50, 100)[rng.integers(6)], rng.integers(0, 4)
        return [f"{(low + i) * width}-{(low + i + 1) * width - 1}" for i in range(n)]
    if kind == 3:
        step = (1, 1, 1, 2, 4, 5, 10)[rng.integers(7)]
        first = rng.integers(1860, 2031 - step * n)
        return [str(first + step * i) for i in range(n)]
    first, step = rng.integers(0, 20), (1, 2, 5, 10)[rng.integers(4)]
    return [str(first + step * i) for i in range(n)]


def sample_words(rng: np.random.Generator, n: int) -> list[str]:
    """
    `n` distinct names that could stand together in one picture.

    Args:
        rng (`np.random.Generator`): chooses.
        n (`int`): 1 to 8.

    Returns:
        `list[str]`: names of 1 to 12 characters.
    """
    kind = rng.random()
    if kind < 0.2:
        sets = [words for words in ORDERED_WORDS.values() if len(words) >= n]
        words = sets[rng.integers(len(sets))]
        start = rng.integers(len(words) - n + 1)
        return list(words[start : start + n])
    if kind < 0.62:
        sets = [words for words in FREE_WORDS.values() if len(words) >= n]
        # larger sets more often, so that no word is much rarer than another
        weights = np.sqrt([len(words) for words in sets])
        words = sets[rng.choice(len(sets), p=weights / weights.sum())]
        return [words[i] for i in rng.permutation(len(words))[:n]]
    if kind < 0.78:
        return _series(rng, n)
    make = _code if kind < 0.86 else _invented
    found: dict[str, None] = {}
    while len(found) < n:
        word = make(rng)
        if not _RUDE.search(word):
            found[word] = None
    return list(found)


def sample_two_sets(rng: np.random.Generator, n: int, m: int) -> tuple[list[str], list[str]]:
    """
    `n` and `m` names for two purposes in one picture; no word or number stands in both.

    Args:
        rng (`np.random.Generator`): chooses.
        n (`int`): 1 to 8.
        m (`int`): 1 to 8.

    Returns:
        `tuple[list[str], list[str]]`: as from [`sample_words`].
    """
    while True:
        names, others = sample_words(rng, n), sample_words(rng, m)
        parts, other_parts = (set(re.findall(r"\w+", " ".join(words).lower())) for words in (names, others))
        if not parts & other_parts:
            return names, others
