"""Sentences made from rules: news, dialogue, numbers as spoken, lists, names, letters, one word and then a sentence."""

from __future__ import annotations

import random
import re

ONES = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
ONES_LIST = (ONES + " eighteen nineteen").split()
TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
ORDINALS = (
    "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth fifteenth "
    "sixteenth seventeenth eighteenth nineteenth twentieth"
).split()
MONTHS = "January February March April May June July August September October November December".split()
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
LETTER_NAMES = (
    "ay bee see dee ee eff gee aitch eye jay kay ell em en oh pee cue are ess tee you vee double-you ex why zee"
).split()
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
INITIALS = (
    "BBC CNN USA UK EU FBI CIA IBM TV PC CD DVD USB URL API HTML CPU GPU CEO CFO ATM GPS DNA MRI UN NBA NFL FAQ DIY HR "
    "PR PM AM VIP BMW PhD MP MIT NYU LA ID IT AI OK HBO NBC ABC SUV RSVP ETA IQ IMF NHS RAF SOS"
).split()
FILLERS = (
    "Hi|Hello|Hey|Yes|No|Okay|OK|Well|Sure|Right|Great|Thanks|Sorry|Wait|Look|Listen|Really|Good|Fine|Please|Oh|Ah|"
    "Stop|Come in|Of course|Thank you|Excuse me|Good morning|Good evening|Not at all|Never mind|I see|Why not|"
    "All right|Maybe|Exactly|Perfect|Wonderful|Nonsense|Indeed|Enough|Quiet|Congratulations|Welcome|Goodbye|Absolutely|"
    "Impossible|Certainly|Today|Tomorrow|Nothing|Everything|Nobody|Who|What|Where|When|Why|How|Monday|Friday|Tonight|Careful|Run|"
    "Go|Help|Alas|Silence|Hush|Besides|Yesterday|Seriously|Obviously|Correct|Wrong|True|False|Next|Finally|Again|Ready"
).split("|")
REPLIES = (
    "How are you|What do you mean|I will be there in a minute|That is not what I said|We should leave before dark|"
    "I did not know that|Can you hear me|It was my fault|Tell me what happened|I have never been there before|"
    "We can talk about it later|Who told you that|It is nothing serious|You can leave it on the table|"
    "The door was open|I am glad you came|Where did you put the keys|I thought you had left|Do you want some tea|"
    "My brother will help us|There is somebody at the door|We are almost there|This is the wrong way|"
    "You should have seen his face|It is getting cold in here|I cannot find my glasses|What time is it|"
    "Let me think about it|The train leaves at nine|They are waiting outside|I would not do that if I were you|"
    "You are always in a hurry|Nobody told me anything|It happened a long time ago|That sounds like a good plan|"
    "Is it raining again|I need your advice|Did you lock the car|He never listens to anyone|She is a friend of mine|"
    "I have no idea what it means|Your coffee is getting cold|Can I call you back|It does not matter anymore"
).split("|")
SAID = "said asked replied cried whispered answered shouted muttered laughed continued insisted added remarked".split()
NEWS_WHO = (
    "the government|the city council|a court in the capital|the finance ministry|the trade union|the president|"
    "the opposition leader|a group of scientists|the central bank|the police|the fire department|the hospital|"
    "the national weather service|the school board|the airline|the car maker|a local newspaper|the coast guard|"
    "the energy company|the foreign minister|the defense secretary|the railway operator|the football club|investors|"
    "residents|officials|doctors|engineers|economists|farmers|protesters|the supreme court|lawmakers|the commission"
).split("|")
NEWS_DID = (
    "announced plans to close|rejected a proposal to expand|agreed to finance|criticized the decision to sell|"
    "launched an investigation into|called for an end to|warned of serious problems with|approved|postponed|suspended|"
    "presented a report on|voted against|welcomed|confirmed the details of|denied reports about|signed an agreement on|"
    "is expected to vote on|has promised to reform|will continue to support|raised new questions about|"
    "published figures on|demanded changes to|defended|promised to pay for|began work on|has withdrawn from"
).split("|")
NEWS_WHAT = (
    "the new airport|the largest steel plant in the region|a controversial tax on fuel|the merger of two banks|"
    "the trade talks|the pension reform|a bridge across the strait|the nuclear power station|the refugee program|"
    "the vaccination campaign|the budget for next year|a law on data protection|the peace agreement|"
    "the election results|a series of burglaries|the rising cost of housing|the shortage of nurses|"
    "the public transport system|an export license|the damage caused by the flood|the climate summit|"
    "a rescue package for small businesses|the construction of a dam|the minimum wage|the use of plastic bags|"
    "the release of political prisoners|the safety of drinking water|a satellite launch|the fishing quotas"
).split("|")
NEWS_WHEN = (
    "on Monday|on Thursday evening|late last night|earlier this year|after weeks of negotiations|"
    "despite growing criticism|in a statement released on Friday|for the second time this month|"
    "following a heated debate|according to state television|during a visit to Brussels|ahead of the summit|"
    "after the accident in the harbor|as unemployment continued to rise|two days before the vote|"
    "amid concerns about inflation|in the wake of the scandal|at a press conference in Berlin|this summer|"
    "without giving further details|under pressure from its partners|since the beginning of the war"
).split("|")
LISTED = (
    "apples|bread|cheese|onions|rice|butter|paper|pencils|a map|two blankets|a lamp|some rope|matches|candles|gloves|"
    "tents|books|flowers|spoons|plates|salt|pepper|sugar|milk|eggs|potatoes|carrots|tea|coffee|wine|soap|towels|shoes|"
    "a jacket|an umbrella|batteries|nails|a hammer|paint|glue|oranges|lemons|grapes|walnuts|honey|flour|red|green|blue|"
    "yellow|black|white|history|music|physics|chemistry|drawing|swimming|tennis|dancing|France|Italy|Spain|Japan|Brazil"
).split("|")
CITIES = (
    "London|Paris|Berlin|Madrid|Vienna|Boston|Chicago|Denver|Seattle|Toronto|Dublin|Lisbon|Prague|Warsaw|Athens|Cairo|"
    "Moscow|Tokyo|Sydney|Mumbai|Houston|Detroit|Atlanta|Oslo|Stockholm|Helsinki|Zurich|Geneva|Naples|Edinburgh|Manchester"
).split("|")
SURNAMES = (
    "Smith|Johnson|Brown|Miller|Davis|Wilson|Moore|Taylor|Anderson|Jackson|White|Harris|Martin|Thompson|Garcia|Robinson|"
    "Clark|Lewis|Lee|Walker|Hall|Allen|Young|King|Wright|Hill|Scott|Green|Baker|Adams|Nelson|Carter|Mitchell|Roberts|"
    "Turner|Phillips|Campbell|Parker|Evans|Edwards|Collins|Stewart|Morris|Murphy|Cook|Rogers|Morgan|Peterson|Cooper"
).split("|")


def below_hundred(n: int) -> str:
    """Return a number below 100 in words."""
    if n < 20:
        return ONES_LIST[n]
    return TENS[n // 10 - 2] + (f"-{ONES_LIST[n % 10]}" if n % 10 else "")


def number(n: int, rng: random.Random) -> str:
    """Return a number below a million in words, as it is spoken."""
    if n < 100:
        return below_hundred(n)
    if n < 1000:
        rest = n % 100
        joint = " and " if rng.random() < 0.6 else " "
        return f"{rng.choice([ONES_LIST[n // 100], 'a']) if n < 200 else ONES_LIST[n // 100]} hundred" + (
            joint + below_hundred(rest) if rest else ""
        )
    rest = n % 1000
    return f"{number(n // 1000, rng)} thousand" + (f" {number(rest, rng)}" if rest else "")


def _year(rng: random.Random) -> str:
    century, rest = rng.choice(
        [(19, rng.randrange(10, 100)), (18, rng.randrange(10, 100)), (20, rng.randrange(10, 40))]
    )
    return f"{below_hundred(century)} {below_hundred(rest)}"


def _some_number(rng: random.Random) -> str:
    return number(
        rng.choice([rng.randrange(100), rng.randrange(1000), rng.randrange(20_000), rng.randrange(900_000)]), rng
    )


def _ordinal(rng: random.Random) -> str:
    n = rng.randrange(31)
    return ORDINALS[n] if n < 20 else f"{TENS[0] if n < 29 else TENS[1]}-{ORDINALS[n - 20 if n < 29 else n - 30]}"


def numbers(rng: random.Random) -> str:
    """Return a sentence with numbers in words."""
    n, m, small = _some_number(rng), _some_number(rng), below_hundred(rng.randrange(2, 60))
    month, day, city, name = rng.choice(MONTHS), rng.choice(DAYS), rng.choice(CITIES), rng.choice(SURNAMES)
    digits = " ".join(rng.choice(ONES_LIST[:10]) for _ in range(rng.randrange(3, 8)))
    unit = rng.choice(
        "miles|kilometers|dollars|euros|people|pages|tons|houses|degrees|liters|pounds|votes|books".split("|")
    )
    return rng.choice([
        f"It costs {n} dollars and {small} cents.", f"The distance to {city} is {n} {unit}.",
        f"There were {n} {unit} in {_year(rng)}, and {m} ten years later.", f"My number is {digits}.",
        f"He was born on the {_ordinal(rng)} of {month}, {_year(rng)}.", f"The war began in {_year(rng)}.",
        f"The meeting on {month} {_ordinal(rng)} starts at {below_hundred(rng.randrange(1, 13))} "
        f"{below_hundred(rng.randrange(10, 60))}.",
        f"About {small} percent of them live in {city}.", f"Take bus number {small} to the {_ordinal(rng)} stop.",
        f"The temperature rose to {small} point {ONES_LIST[rng.randrange(10)]} degrees.", f"{n} divided by {small}.",
        f"The answer is {n}, not {m}.", f"Page {n}, line {small}.", f"The code is {', '.join(digits.split())}.",
        f"We sold {n} {unit} on {day} and {m} on {rng.choice(DAYS)}.", f"She is {small} years old.",
        f"Room {n} is on the {_ordinal(rng)} floor.",
        f"The train to {city} leaves at {small} past {below_hundred(rng.randrange(1, 13))}.",
        f"{name} finished {rng.choice(ORDINALS)}, {small} seconds behind the winner.",
        f"One {rng.choice(['half', 'third', 'quarter', 'tenth'])} of {n} is enough.",
        f"At least {n} people were killed in {_year(rng)}.", f"Chapter {small}.", f"The year {_year(rng)} was cold.",
        f"{n}.",
        f"From {small} to {below_hundred(rng.randrange(60, 99))} {unit} an hour.",
        f"Nearly {number(rng.randrange(2, 100), rng)} million {unit} a year.",
    ])  # fmt: skip


def letters(rng: random.Random) -> str:
    """Return a text with letters or initials, as they are written or by their names."""
    word = (
        rng.choice(INITIALS) if rng.random() < 0.6 else "".join(rng.choice(LETTERS) for _ in range(rng.randrange(2, 5)))
    )
    one = rng.choice(LETTERS)
    if rng.random() < 0.55:
        word, one = (" ".join(LETTER_NAMES[LETTERS.index(c)] for c in w.upper()) for w in (word, one))
    city, name = rng.choice(CITIES), rng.choice(SURNAMES)
    return rng.choice([
        f"{word}.", f"{one}.", f"The {word} reported it on {rng.choice(DAYS)}.", f"He works for the {word} in {city}.",
        f"Plan {one} is better than plan {rng.choice(LETTERS)}.", f"Please send me the {word} before noon.",
        f"{word} or {one}?",
        f"She spelled it with {one} and {rng.choice(LETTER_NAMES)}.", f"Turn on the {word}.",
        f"The letter {one} is missing.",
        f"According to the {word}, prices rose again.", f"{name} became head of the {word}.",
        f"Is it {one} or {rng.choice(LETTER_NAMES)}?",
        f"Our {word} is broken.", f"Vitamin {one} is good for you.", f"It was made in the {word}.",
        f"Section {one}, please.",
    ])  # fmt: skip


def news(rng: random.Random) -> str:
    """Return a sentence as newspapers write them."""
    who, did, what, when = map(rng.choice, (NEWS_WHO, NEWS_DID, NEWS_WHAT, NEWS_WHEN))
    other, city, name = rng.choice(NEWS_WHAT), rng.choice(CITIES), rng.choice(SURNAMES)
    text = rng.choice([
        f"{who} {did} {what} {when}.", f"{who} {did} {what}.", f"{who}, {when}, {did} {what}.",
        f"{who} in {city} {did} {what}, a spokesman said {rng.choice(['on', 'last']) } {rng.choice(DAYS)}.",
        f"{name}, who leads the inquiry, said that {who} {did} {what}.", f"{who} {did} {what} and {other} {when}.",
        f"more than {_some_number(rng)} people gathered in {city} to protest against {what}.",
        f"{what} will cost {_some_number(rng)} million dollars, {who} said {when}.",
        f"the debate over {what} continues {when}.",
        f"analysts believe that {what} could delay {other}.", f"{name} resigned {when} because of {what}.",
    ])  # fmt: skip
    return text[0].upper() + text[1:]


def lists(rng: random.Random) -> str:
    """Return a sentence with a list of things, towns or names."""
    pool = rng.choice([LISTED, LISTED, CITIES, SURNAMES])
    things = rng.sample(pool, rng.randrange(3, 6))
    joined = ", ".join(things[:-1]) + rng.choice([", and ", " and ", ", or "]) + things[-1]
    if pool is LISTED:
        return rng.choice(["We bought {}.", "You need {}.", "{}.", "There were {} on the shelf.", "Bring {}, please.",
                           "Do not forget the following: {}.", "I like {}."]).format(joined)  # fmt: skip
    if pool is CITIES:
        return rng.choice(["We flew to {}.", "They have offices in {}.", "{}.", "Have you ever been to {}?"]).format(
            joined
        )
    return rng.choice(["The winners were {}.", "Please ask {}.", "Mister {} were late.", "Doctor {}."]).format(joined)


def dialogue(rng: random.Random, clauses: list[str], names: list[str]) -> str:
    """Return speech in quotes, or short answers followed by a sentence."""
    first, reply = rng.choice(FILLERS), rng.choice(REPLIES if rng.random() < 0.5 else clauses).rstrip(".!?,")
    other = rng.choice(clauses).rstrip(".!?,")
    name, said = (
        rng.choice([*names, "he", "she", "he", "she", "my father", "the old man", "her sister"]),
        rng.choice(SAID),
    )
    end = (
        "?"
        if re.match(r"(how|what|who|where|why|when|can|did|do|is|are|would)\b", reply, re.I)
        else rng.choice("....!")
    )
    mark = rng.choice(".....!?")
    reply, other = reply[0].upper() + reply[1:], other[0].upper() + other[1:]
    inner = reply + ("," if end == "." else end)
    low = reply if re.match(r"I\b", reply) else reply[0].lower() + reply[1:]
    return rng.choice([
        f"{first}{mark} {reply}{end}", f"{first}{mark} {reply}{end}", f"{first}{mark} {reply}{end}",
        f"{first}, {low}{end}",
        f'"{inner}" {name} {said}.', f'"{first}," {said} {name}. "{reply}{end}"', f'"{first}!" {name} {said}.',
        f'"{reply}{end}" "{first}."', f'{name[0].upper() + name[1:]} {said}, "{reply}{end}"', f"{reply}{end} {other}.",
        f'"{first}," {name} {said}, "{low}{end}"', f"{first}{mark} {rng.choice(FILLERS)}{mark} {reply}{end}",
        f"{reply}{end} {first}{mark}", f"{name[0].upper() + name[1:]}! {reply}{end}", f"{first}, {name}, {low}{end}",
    ])  # fmt: skip
