"""WordNet's words that were counted in running text, and sentences of newspapers and tales made from them.

`grammar.py` says a few hundred words often; here thousands are said seldom, as in what people write. WordNet 3.0's
licence allows any use with its notice.
"""

from __future__ import annotations

import random
import re
from pathlib import Path

NOUN_FILES = {"person": (18,), "group": (14,), "act": (4, 11), "talk": (10,), "thing": (6,), "place": (15,),
              "nature": (5, 17, 19, 20), "idea": (9, 7, 12, 26)}  # fmt: skip
VERB_FILES = {"social": (41, 40, 32), "contact": (35, 36, 30, 38)}
SAID = "said|announced|warned|reported|admitted|denied|believed|insisted|explained|promised|claimed|replied".split("|")
WHEN = (
    "on Monday|on Tuesday|on Wednesday|on Thursday|on Friday|on Saturday|in February|last March|since April|in late "
    "May|in June|next July|in August|in September|last October|in November|early in December|this morning|in the "
    "evening|at the weekend|two years ago|this spring|next autumn|a day earlier|on the eve of the vote|at a hearing|"
    "in a letter to the press|hours before the deadline|in spite of the rules|for the third time|behind closed doors"
).split("|")
OLD_WHEN = (
    "many winters ago|before the sun was up|after supper|when the wind turned|one bitter morning|in the light of the "
    "fire|as the guests departed|toward the close of the day|on the feast of the harvest|with great reluctance|all "
    "that night|for the space of an hour|ere long|from that day onward|to the astonishment of all|in the fullness of "
    "time"
).split("|")
NEWS = (
    "The {person} {said} that {things} would be {contact} {when}.|{persons} {social} the {act} {when}.|{Name}, the "
    "{group}'s new {person}, {social} a {adj} {talk} {when}.|The {group} has {social} its {talk} about {things}.|In "
    "{Place}, {persons} {contact} a {place} {when}, a {person} {said}.|{number} {persons} were {contact} near "
    "{Place} {when}.|The {act} of {things} cost the {group} {number} million dollars.|A {adj} {act} has {contact} "
    "the {place} of {Place}.|{persons}' {talk} on the {nature} was {adv} {social}.|Critics of the {act} {said} "
    "{when} that it was {adv} {adj}.|{Name} and {Name} {social} the {group} {when}.|Why was the {act} {social} "
    "{when}?|The {person}, who had {social} the {talk}, {said} nothing about {things}.|Both {persons} and {persons} "
    "{contact} the {place}.|The {talk} lists {things}, {things} and {things}.|{Place} has {social} more {things} "
    "than {Place}.|A study of {natures} {social} the {idea} of {persons}.|The {group} plans to open a {place} for "
    "{persons} in {Place}.|{act} and {act} are among the {ideas} that {persons} {social}.|No {person} was hurt when "
    "the {thing} {contact} the {thing}."
).split("|")
TALE = (
    "The {person} {adv} {contact} the {thing}, and the {nature} {contact} {when}.|{when}, the {adj} {person} "
    "{social} his {idea}.|My {person} {contact} a {thing} of {adj} {natures}.|A {person} without {idea} is a {adj} "
    "{thing}.|The {things} were {contact}, the {persons} {social}, and all was {idea}.|Is it not {adj} that a "
    "{person} should have {contact} the {thing}?|She {contact} her {thing}, {social} her {idea}, and went {adv} to "
    "the {place}.|I {social} the {person}'s {idea}, for it was {adv} {adj}.|O {adj} {nature}, how {adv} thou art "
    "{contact}!|Such {idea} as the {persons} {social} is seldom {contact}.|They were {adj}, {adj}, and {adv} "
    "{social} by the {persons} of the {place}.|{idea} {social} the {person}; {idea} {contact} him.|The {adj} {thing} "
    "and the {adj} {nature} lay {adv} by the {place}.|If the {person} be {adj}, then let the {thing} be {contact}.|"
    "Whose {things} are these, and who {contact} them {when}?|The {person} bade us {adj} {idea}, and {contact} the "
    "{thing}.|Between the {place} and the {place} ran a {nature}, {adj} with {natures}.|"
    '"The {thing} is {contact}," said the {person} {adv}.|With a {talk} the {person} {social} her {thing} {when}.|'
    "His {things}, his {ideas} and his {adj} {talk} {social} everyone."
).split("|")
_SLOT = re.compile(r"\{(\w+)\}")
_VOWEL = re.compile(r"\b([Aa]) (?=[aeiou])")
_NO_VOWEL = re.compile(r"\b([Aa])n (?=[^aeiou\W])")
PREFIXES = "who what the my your our no any some this that every another more very quite too so not only".split()


class Lexicon:
    """Words by what they mean, and names of people and places."""

    def __init__(self, folder: Path) -> None:
        counts: dict[str, dict[str, int]] = {kind: {} for kind in (*NOUN_FILES, *VERB_FILES, "adj", "adv")}
        irregular = {kind: _irregular(folder / f"{kind}.exc") for kind in ("noun", "verb")}
        for line in (folder / "cntlist.rev").read_text("latin-1").splitlines():
            lemma, _, rest = line.partition("%")
            part, number, count = int(rest[0]), int(rest[2:4]), int(rest.split()[-1])
            if not lemma.isalpha() or not 3 <= len(lemma) <= 14:
                continue
            for kind, numbers in (NOUN_FILES if part == 1 else VERB_FILES if part == 2 else {}).items():
                if number in numbers and lemma not in irregular["noun" if part == 1 else "verb"]:
                    counts[kind][lemma] = counts[kind].get(lemma, 0) + count
            if part in (3, 5) and number == 0:
                counts["adj"][lemma] = counts["adj"].get(lemma, 0) + count
            elif part == 4 and lemma.endswith("ly"):
                counts["adv"][lemma] = counts["adv"].get(lemma, 0) + count
        names = _names(folder / "data.noun")
        self.names, self.places = names["person"], names["place"]
        own = {name.lower() for kind in names for name in names[kind]}  # would be written with a capital
        self.words: dict[str, list[str]] = {  # the most frequent first
            kind: sorted(counted.keys() - own, key=lambda word: (-counted[word], word))
            for kind, counted in counts.items()
        }

    def word(self, kind: str, rng: random.Random) -> str:
        """Return a word of a kind: the most frequent tenth a fifth of the time."""
        words = self.words[kind]
        return words[int(len(words) * rng.random() ** 1.4)]

    def sentence(self, rng: random.Random) -> str:
        """Return a sentence made from a template of newspapers or tales."""
        news = rng.random() < 0.55
        when = WHEN if news else OLD_WHEN

        def fill(slot: re.Match[str]) -> str:
            name = slot[1]
            if name in ("when", "said", "number", "Place", "Name"):
                pool = {"when": when, "said": SAID, "number": ["two", "three", "four", "five", "seven", "twelve"],
                        "Place": self.places, "Name": self.names}[name]  # fmt: skip
                return rng.choice(pool)
            if name in VERB_FILES:
                return past(self.word(name, rng))
            plural = name not in self.words
            word = self.word(name.removesuffix("s") if plural else name, rng)
            return several(word) if plural else word

        text = _SLOT.sub(fill, rng.choice(NEWS if news else TALE))
        text = _NO_VOWEL.sub(r"\1 ", _VOWEL.sub(r"\1n ", text))
        return text[0].upper() + text[1:]

    def short(self, rng: random.Random) -> str:
        """Return one or two words, with their mark."""
        kind = rng.choice(["thing", "nature", "idea", "person", "adj", "act", "place", "talk"])
        word, other = self.word(kind, rng), self.word("adj", rng)
        verb, how = self.word(rng.choice(["contact", "social"]), rng), self.word("adv", rng)
        text = rng.choice([
            word, word, word, word, several(word) if kind != "adj" else word, f"{other} {word}",
            f"{other} {several(word)}", f"{rng.choice(PREFIXES)} {word}", f"the {word}", f"{verb} it", past(verb),
            how, f"{how}, {rng.choice(['please', 'then', 'no'])}",
            rng.choice(self.names), rng.choice(self.places),
            f"{rng.choice(['two', 'three', 'ten', 'six'])} {several(word)}",
        ])  # fmt: skip
        text = text if rng.random() < 0.06 else text[0].upper() + text[1:]
        return text + rng.choices([".", "!", "?", ""], [0.66, 0.14, 0.15, 0.05])[0]


def past(verb: str) -> str:
    """Return the past tense of a regular verb."""
    if verb.endswith("e"):
        return verb + "d"
    return verb[:-1] + "ied" if re.search(r"[^aeiou]y$", verb) else verb + "ed"


def several(noun: str) -> str:
    """Return the plural of a regular noun."""
    if re.search(r"[^aeiou]y$", noun):
        return noun[:-1] + "ies"
    return noun + ("es" if re.search(r"(s|x|z|ch|sh)$", noun) else "s")


def _irregular(path: Path) -> set[str]:
    return {base for line in path.read_text("latin-1").splitlines() for base in line.split()[1:]}


def _names(path: Path) -> dict[str, list[str]]:
    found: dict[str, set[str]] = {"person": set(), "place": set()}
    for line in path.read_text("latin-1").splitlines():
        fields = line.split()
        kind = {"18": "person", "15": "place"}.get(fields[1]) if not line.startswith("  ") else None
        if kind is None:
            continue
        for lemma in fields[4 : 4 + 2 * int(fields[3], 16) : 2]:
            name = lemma.replace("_", " ")
            if re.fullmatch(r"[A-Z][a-z]{2,11}( [A-Z][a-z]{2,11})?", name):
                found[kind].add(name)
    return {kind: sorted(names) for kind, names in found.items()}
