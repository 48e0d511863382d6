"""Training text: sentences of old books, WordNet's examples and definitions, and sentences made from rules.

WordNet 3.0 (Princeton University) may be used, copied and distributed freely with its notice. The books are those
given, out of copyright; the rules are our own. No sentence of the evaluation lists is used.

    python -m scripts.train_tiny.texts --wordnet /usr/share/wordnet --books books/*.txt --count 48000 --out texts.txt
"""

from __future__ import annotations

import argparse
import random
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from scripts.train_tiny import grammar
from scripts.train_tiny.lexicon import Lexicon
from scripts.train_tiny.prose import VOCAB, distinct, read_books, shingles

__all__ = ["VOCAB"]

HERE = Path(__file__).parent
_PLAIN = re.compile(r"[A-Za-z ,;:'\-]+[.?!]?")
_QUESTION = re.compile(r"^(who|why|how|do|does|did|can|could|would|will|is|are|was|were)\b", re.I)

PEOPLE = (
    "my sister|the teacher|our neighbor|the driver|an old man|"
    "a young woman|the captain|the nurse|his uncle|her friend|"
    "the manager|the guard|a stranger|the waiter|the artist|their daughter|the king|the gardener|our guide|a child|"
    "the mayor|the clerk|my cousin|the soldier|the lawyer|the boss|the plumber|David|Mary|Thomas|Susan|Peter|Anna"
).split("|")
PRONOUNS = "I|you|we|they".split("|")
PAST = (
    "found|lost|bought|sold|painted|repaired|carried|dropped|wanted|needed|forgot|remembered|opened|closed|hid|broke|"
    "cleaned|moved|washed|watched|noticed|described|"
    "ordered|returned|borrowed|picked up|threw away|looked for|asked for"
).split("|")
BASE = (
    "find|lose|buy|sell|paint|repair|carry|drop|want|need|"
    "forget|remember|open|close|hide|break|clean|move|wash|watch|"
    "notice|describe|order|return|borrow|pick up|throw away|look for|ask for|take|bring|keep|use|show me|hold"
).split("|")
THINGS = (
    "the red car|a heavy box|the last ticket|a silver ring|the broken chair|some bread|a cup of tea|the green bottle|"
    "the front door|a wooden boat|two large suitcases|the newspaper|an orange|the telephone|a pair of gloves|"
    "the basket|three eggs|the computer|a piece of paper|the big mirror|some money|the wrong address|a bowl of rice|"
    "the camera|the yellow bag|a long rope|the kitchen knife|a new coat|"
    "the little statue|the answer|a quiet room|the keys|"
    "the picture|a strange machine|the medicine|a sharp pencil|the garden gate|the radio|some cheese|the blanket"
).split("|")
PLACES = (
    "in the kitchen|at the station|behind the house|near the river|on the roof|under the bed|at school|in the city|"
    "by the sea|on the table|across the street|in the mountains|at the airport|in the garden|next to the bank|"
    "outside the theater|in the basement|at the end of the road|between the trees|on the second floor|at home|"
    "in front of the hotel|on the other side|in the hospital|at the market|over the bridge|in the dark|upstairs"
).split("|")
TIMES = (
    "yesterday|last night|this morning|on Monday|on Tuesday|on Wednesday|on Friday|on Saturday|last week|in March|"
    "in August|two days ago|at midnight|before dinner|after lunch|around noon|in the summer|early in the day|again|"
    "many years ago|at six o'clock|just now|every evening|in December|at half past four|once a week|all day long"
).split("|")
FUTURE = "tomorrow|tonight|next week|next year|soon|later|on Sunday|in an hour|in the evening|after the game".split("|")
ADJECTIVES = (
    "cold|beautiful|empty|expensive|quiet|dangerous|small|heavy|"
    "wonderful|dirty|bright|strange|useful|old|famous|soft|"
    "broken|wide|dry|sweet|simple|difficult|warm|interesting|boring|dark|full|wet|cheap|narrow|important|terrible"
).split("|")
NOUNS = (
    "weather|water|house|street|music|story|garden|mountain|question|answer|morning|bridge|village|kitchen|machine|"
    "river|window|movie|book|chair|train|building|dog|horse|field|paper|lesson|game|island|letter|market|sky|forest|"
    "door|hospital|museum|concert|problem|weekend|photograph|sentence|voice|shoulder|finger|winter|summer|dress"
).split("|")
NUMBERS = (
    "one|two|three|four|five|six|seven|eight|nine|"
    "ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|eighteen|nineteen|"
    "twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety|a hundred|a thousand|twenty-one|thirty-five|sixty-four"
).split("|")
SHORT = (
    "yes|no|hello|goodbye|sorry|thanks|please|maybe|never|always|good morning|good night|see you soon|I know|I see|"
    "that is right|not yet|come on|wait a minute|look at this|be careful|go away|well done|no problem|what a day|"
    "who is it|how much|over there|right now|nice to meet you|"
    "take care|listen to me|sit down|here you are|let me see|"
    "why not|stand up|tell me more|I think so|I doubt it|that's enough|it's late|hurry up|calm down|welcome home"
).split("|")
TEMPLATES = (
    "{P} {V} {T} {L}.|{P} {V} {T} {W}.|{W}, {p} {V} {T}.|{I} {V} {T} {L} {W}.|did {I} {b} {T} {L}?|"
    "{I} will {b} {T} {F}.|{P} will {b} {T} {F}.|{I} can't {b} {T} {L}.|could you {b} {T}, please?|"
    "please {b} {T} {L}.|why did {p} {b} {T}?|the {N} {L} is very {A}.|"
    "the {N} was {A}, but the {M} was {B}.|what {A} {M} that is!|I don't think the {N} is {A}.|"
    "{P} said that the {N} was too {A}.|there are {K} of them {L}.|it costs {K} dollars.|"
    "{P} waited for {K} minutes {L}.|is the {N} still {A}?|how {A} was the {N} {W}?|"
    "if {I} {b} {T}, we can go {L}.|when {p} came in, we {V} {T}.|{P} never {V} {T}, because it was {A}.|"
    "let's {b} {T} {F}.|don't {b} {T}!|{I} have to {b} {T} before we leave.|where is {T}?|"
    "who {V} {T} {W}?|I am sure that {p} {V} {T}.|the {N} and the {M} are {A}.|{P} and {p} met {L} {W}.|"
    "she gave {p} {T}.|he told {p} about the {A} {N}.|we need {K} more, not {k}.|{P} is {K} years old.|"
    "I'd rather {b} {T} than wait {L}.|it was a {A} {N}.|you're looking at the {A} {N}, aren't you?|"
    "they've already {V} {T}."
).split("|")


def from_templates(rng: random.Random) -> str:
    """Return a sentence made from a template."""
    slots = {
        "P": rng.choice(PEOPLE), "p": rng.choice(PEOPLE), "I": rng.choice(PRONOUNS), "V": rng.choice(PAST),
        "b": rng.choice(BASE), "T": rng.choice(THINGS), "L": rng.choice(PLACES), "W": rng.choice(TIMES),
        "F": rng.choice(FUTURE), "A": rng.choice(ADJECTIVES), "B": rng.choice(ADJECTIVES), "N": rng.choice(NOUNS),
        "M": rng.choice(NOUNS), "K": rng.choice(NUMBERS), "k": rng.choice(NUMBERS),
    }  # fmt: skip
    return rng.choice(TEMPLATES).format(**slots)


def wordnet_glosses(folder: Path) -> tuple[list[str], list[str]]:
    """Return example phrases and definitions, without those that have an author's name or unusual characters."""
    examples: set[str] = set()
    definitions: set[str] = set()
    for part in ("noun", "verb", "adj", "adv"):
        for line in (folder / f"data.{part}").read_text("latin-1").splitlines():
            if line.startswith("  ") or " | " not in line:
                continue
            gloss = line.split(" | ", 1)[1]
            if re.search(r'"\s*[-(]', gloss):  # "..." - author: a quotation from a book
                continue
            examples.update(phrase.strip() for phrase in re.findall(r'"([^"]+)"', gloss))
            definitions.add(re.sub(r"\([^)]*\)", "", gloss.split('"')[0]).split(";")[0].strip())
    return sorted(filter(_usable, examples)), sorted(filter(_usable, definitions))


def _usable(text: str) -> bool:
    words = text.split()
    return 2 <= len(words) <= 18 and len(text) <= 110 and bool(_PLAIN.fullmatch(text)) and "  " not in text


def finish(text: str, rng: random.Random) -> str:
    """Add a capital and a mark at the end; sometimes neither, as callers write so too."""
    text = re.sub(r"(?<!\.)\.\.(?!\.)", ".", text.strip(" ,;:-"))
    if rng.random() < 0.94:
        text = text[0].upper() + text[1:]
    if text[-1] in '.?!"':
        return text
    if _QUESTION.match(text) and len(text.split()) > 2:
        return text + "?"
    return text + rng.choices([".", "!", ",", ""], [0.86, 0.06, 0.05, 0.03])[0]


def short_phrase(rng: random.Random, words: list[str]) -> str:
    """Return one to three words: an everyday phrase, or words drawn at random."""
    if rng.random() < 0.3:
        return rng.choice(SHORT)
    pools = [NOUNS, ADJECTIVES, NUMBERS, words, words]
    return " ".join(rng.choice(rng.choice(pools)) for _ in range(rng.choices([1, 2, 3], [0.5, 0.35, 0.15])[0]))


def common_words(sentences: list[str]) -> list[str]:
    """Return the lower-case words that occur at least four times."""
    counts: dict[str, int] = {}
    for word in " ".join(sentences).split():
        if word.isalpha() and word.islower():
            counts[word] = counts.get(word, 0) + 1
    return sorted(word for word, count in counts.items() if count >= 4 and len(word) > 2)


def held_out() -> list[str]:
    """Return all sentences that are kept for measuring."""
    paths = [HERE / "sentences.txt", *sorted((HERE / "held_out").glob("*.txt"))]
    return [line for path in paths for line in _lines(path)]


def training_texts(wordnet: Path, count: int, seed: int, books: Sequence[str] = ()) -> Iterator[str]:
    """Yield `count` different texts in random order, none of them in the evaluation lists."""
    rng = random.Random(seed)
    examples, definitions = wordnet_glosses(wordnet)
    words, lexicon = common_words(examples + definitions), Lexicon(wordnet)
    prose = list(books)
    for pool in (examples, definitions, prose):
        rng.shuffle(pool)
    clauses = [e for e in examples if 3 <= len(e.split()) <= 9] + [b for b in prose if 4 <= len(b.split()) <= 14]
    clauses = [c for c in clauses if '"' not in c] or [from_templates(rng)]
    kinds: list[tuple[float, Callable[[], str]]] = [
        (0.24 if prose else 0.0, lambda: prose.pop() if prose else from_templates(rng)),
        (0.12, lambda: examples.pop() if examples else from_templates(rng)),
        (0.02, lambda: definitions.pop() if definitions else from_templates(rng)),
        (0.03, lambda: from_templates(rng)), (0.21, lambda: lexicon.sentence(rng)),
        (0.06, lambda: short_phrase(rng, words)), (0.09, lambda: lexicon.short(rng)),
        (0.08, lambda: grammar.news(rng)),
        (0.08, lambda: grammar.dialogue(rng, clauses, PEOPLE)), (0.04, lambda: grammar.numbers(rng)),
        (0.02, lambda: grammar.letters(rng)), (0.01, lambda: grammar.lists(rng)),
    ]  # fmt: skip
    weights, makers = zip(*kinds, strict=True)
    kept_out = {_key(line) for line in held_out()}

    def make() -> str:
        text = finish(rng.choices(makers, weights)[0](), rng)
        return text.upper() if rng.random() < 0.012 else text

    yield from distinct(
        make, count, lambda text: _key(text) not in kept_out and not set(text) - set(VOCAB) and len(text) <= 220
    )


def _lines(path: Path) -> list[str]:
    return [line.strip() for line in path.read_text().splitlines() if line.strip()]


def _key(text: str) -> str:
    return re.sub(r"[^a-z ]", "", text.lower()).strip()


def main() -> None:
    """Write the training texts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wordnet", type=Path, default=Path("/usr/share/wordnet"))
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--books", type=Path, nargs="*", default=[], help="plain text, out of copyright")
    parser.add_argument(
        "--exclude", type=Path, help="sentences of test sets: what shares six words in a row is left out"
    )
    args = parser.parse_args()
    unwanted = shingles([*held_out(), *(_lines(args.exclude) if args.exclude else [])])
    texts = training_texts(args.wordnet, args.count, args.seed, read_books(args.books, unwanted))
    args.out.write_text("".join(f"{text}\n" for text in texts))


if __name__ == "__main__":
    main()
