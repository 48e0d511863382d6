"""Tables of how English signs, units and abbreviations are read."""

from __future__ import annotations

from typing import NamedTuple


class Currency(NamedTuple):
    """A currency's names, singular and plural."""

    one: str
    many: str
    cent: str = ""  # none: has no smaller coin in use
    cents: str = ""


_DOLLAR = Currency("dollar", "dollars", "cent", "cents")
_EURO = Currency("euro", "euros", "cent", "cents")
_POUND = Currency("pound", "pounds", "penny", "pence")
_YEN = Currency("yen", "yen")
_RUPEE = Currency("rupee", "rupees", "paisa", "paise")
CURRENCY_SIGNS = {"$": _DOLLAR, "€": _EURO, "£": _POUND, "¥": _YEN, "₹": _RUPEE}
CURRENCY_CODES = {
    "USD": _DOLLAR,
    "EUR": _EURO,
    "GBP": _POUND,
    "JPY": _YEN,
    "INR": _RUPEE,
    "CHF": Currency("Swiss franc", "Swiss francs", "centime", "centimes"),
    "CAD": Currency("Canadian dollar", "Canadian dollars", "cent", "cents"),
    "AUD": Currency("Australian dollar", "Australian dollars", "cent", "cents"),
}
SCALES = {
    **dict.fromkeys(["k", "K", "thousand"], "thousand"),
    **dict.fromkeys(["m", "M", "mn", "million"], "million"),
    **dict.fromkeys(["b", "B", "bn", "billion"], "billion"),
    **dict.fromkeys(["t", "T", "tn", "trillion"], "trillion"),
}


def _units(written: str) -> dict[str, tuple[str, str]]:
    """Parse lines such as `km,Km kilometre`: signs separated by commas; the plural has an s, or follows a slash."""
    table = {}
    for line in written.strip().splitlines():
        signs, _, name = line.strip().partition(" ")
        one, _, many = name.partition("/")
        table.update(dict.fromkeys(signs.split(","), (one, many or f"{one}s")))
    return table


# Told from words by the number before them. No "in", "a" or "t": they are words, or ambiguous.
UNITS = _units("""
    km,Km,KM kilometre
    m metre
    cm centimetre
    mm millimetre
    µm,μm micrometre
    nm nanometre
    mi mile
    yd,yds yard
    ft foot/feet
    km²,km2 square kilometre
    m²,m2 square metre
    cm²,cm2 square centimetre
    ft²,ft2 square foot/square feet
    m³,m3 cubic metre
    cm³,cm3 cubic centimetre
    ha hectare
    kg,Kg,KG,kgs kilogram
    g gram
    mg milligram
    µg,μg,mcg microgram
    lb,lbs pound
    oz ounce
    l,L litre
    ml,mL millilitre
    cl centilitre
    km/h,kmh,kph kilometre per hour/kilometres per hour
    m/s metre per second/metres per second
    mph mile per hour/miles per hour
    mpg mile per gallon/miles per gallon
    TB terabyte
    GB gigabyte
    MB megabyte
    KB,kB kilobyte
    GiB gibibyte
    MiB mebibyte
    Gbps,Gbit/s gigabit per second/gigabits per second
    Mbps,Mbit/s megabit per second/megabits per second
    kbps,kbit/s kilobit per second/kilobits per second
    MB/s megabyte per second/megabytes per second
    GB/s gigabyte per second/gigabytes per second
    GHz gigahertz/gigahertz
    MHz megahertz/megahertz
    kHz,KHz kilohertz/kilohertz
    Hz hertz/hertz
    dB decibel
    fps frame per second/frames per second
    rpm revolution per minute/revolutions per minute
    bpm beat per minute/beats per minute
    px pixel
    ns nanosecond
    µs,μs microsecond
    ms millisecond
    s,sec,secs second
    min,mins minute
    h,hr,hrs hour
    kWh kilowatt hour
    MW megawatt
    kW kilowatt
    W watt
    kV kilovolt
    V volt
    mV millivolt
    mA milliamp
    mAh milliamp hour
    kcal kilocalorie
    cal calorie
    kJ kilojoule
""")
SIGNS_AFTER = _units("""
    % percent/percent
    °C,℃ degree celsius/degrees celsius
    °F,℉ degree fahrenheit/degrees fahrenheit
    ° degree
    ² squared/squared
    ³ cubed/cubed
    + plus/plus
""")

MONTHS = "January February March April May June July August September October November December".split()
MONTH_ABBREVIATIONS = {month[:3]: month for month in MONTHS if month != "May"} | {"Sept": "September"}

TITLES = {
    "Mr": "Mister",
    "Mrs": "Missus",
    "Ms": "Miz",
    "Dr": "Doctor",
    "Prof": "Professor",
    "St": "Saint",
}
TITLES_WITH_STOP = {  # without it they may be words or initials
    "Rev": "Reverend",
    "Gen": "General",
    "Capt": "Captain",
    "Lt": "Lieutenant",
    "Col": "Colonel",
    "Sgt": "Sergeant",
    "Sen": "Senator",
    "Gov": "Governor",
}
BEFORE_NUMBERS = {
    "no": "number",
    "nos": "numbers",
    "vol": "volume",
    "fig": "figure",
    "ch": "chapter",
    "p": "page",
    "pp": "pages",
    "ext": "extension",
}
WITHIN = {"e.g": "for example", "i.e": "that is", "approx": "approximately", "vs": "versus"}
LAST = {  # may end a sentence, and then keep the full stop
    "etc": "et cetera",
    "a.m": "a m",
    "p.m": "p m",
    "a.k.a": "also known as",
    "Jr": "Junior",
    "Sr": "Senior",
    "Inc": "Incorporated",
    "Ltd": "Limited",
}

SPELLED_SIGNS = {
    ".": "dot",
    "/": "slash",
    "-": "dash",
    "_": "underscore",
    "@": "at",
    "?": "question mark",
    "=": "equals",
    "&": "and",
    "#": "hash",
    "%": "percent",
    "+": "plus",
    "~": "tilde",
    ":": "colon",
}
ARITHMETIC = {"+": "plus", "=": "equals", "×": "times", "÷": "divided by"}
FRACTIONS = {"½": (1, 2), "⅓": (1, 3), "⅔": (2, 3), "¼": (1, 4), "¾": (3, 4), "⅕": (1, 5), "⅛": (1, 8)}
DOMAINS = "com org net edu gov info io ai dev app co uk de fr es it nl pl ru eu us ca au in me tv".split()

NUMBERED = "Chapter Part Volume Book Act Scene Section Phase Bowl War".split()  # World War, Super Bowl
MONARCHS = """
    Adrian Albert Alexander Alfonso Amenhotep Artaxerxes Baldwin Benedict Boniface Carlos Catherine Celestine Charles
    Christian Clement Constantine Darius Edward Elizabeth Eugene Felipe Ferdinand Francis Frederick George Gregory
    Gustav Haakon Harald Henri Henry Innocent Ivan James John Joseph Julius Justinian Karl Leo Leopold Louis Ludwig
    Maximilian Mehmed Murad Napoleon Nicholas Olav Otto Paul Peter Philip Philippe Pius Ptolemy Ramesses Ramses Richard
    Rudolf Selim Sixtus Suleiman Theodosius Thutmose Umberto Urban Victor Wilhelm William Mary Margaret Emmanuel Xerxes
""".split()
