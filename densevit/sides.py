"""Left and right in the names of classes: which of them are each other's mirror image.

Mirrored from left to right, a scan's left kidney is where a right one would be. Whoever mirrors images exchanges such
classes, and has to know them: by their names, in several languages, or because they were declared.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

Pairs = tuple[tuple[int, int], ...]
Declared = Sequence[Sequence[str | int]]
Reading = tuple[tuple[str, ...], str]  # the other words of a name, and its sides: ("kidney",), "L"
CLEAR, WITH_OTHER, PERHAPS = 2, 1, 0  # a side by itself; one where the counterpart is a class; who knows

# Words that are a side wherever they stand alone, without accents: English, German, Dutch, French, Spanish, Portuguese,
# Italian, Latin, Swedish, Danish, Norwegian, Finnish, Polish, Czech, Russian, Ukrainian, Chinese, Japanese, Korean.
WORDS = {
    "L": r"l|lh|left|links|linke[rsnm]?|gauches?|izquierd[oa]s?|esquerd[oa]s?|sinister"
    r"|sinistr(?:a|o|e|i|um|am|ae|is|us)|vanster|venstre|vasen|lew[aye]|lev[aye]|лев[аыо]\w*|лів[аио]\w*|左|왼쪽|좌측",
    "R": r"r|rh|right|rechts|rechte[rsnm]?|droite?s?|derech[oa]s?|direit[oa]s?|dexter"
    r"|dextr(?:a|o|e|i|um|am|ae|is|us)|destr[oaie]|hoger|h[oø][jy]re|oikea|praw[aye]|prav[aye]|прав[аыо]\w*|右|오른쪽|우측",
}
# Words that are a side where the name with the other one is a class too.
ABBREVIATIONS = {"lt": "rt", "lft": "rgt", "li": "re", "sx": "dx", "sin": "dex", "izq": "der", "esq": "dir"}
ABBREVIATIONS |= {"sol": "sag", "bal": "jobb", "kiri": "kanan", "stang": "drept"}  # Turkish, Hungarian, Malay, Romanian
LETTERS = {"g": "d", "i": "d", "e": "d", "s": "d"}  # of French, Spanish, Portuguese, Latin; or of a grade
STEMS = (("left", "right"), ("link", "recht"))  # of words that are written together: leftkidney
LONG = 5  # letters of a word, at most, whose first or last l or r may be part of it: the rest has to say what it is
OF_THE_BODY = re.compile(
    "arms?|auge|bein|brow|calf|ears?|eyes?|foot|hand|hips?|horn|iris|kn[ie]e|legs?|lens|limb|lobe|lung|mano|oeil|ohr|oido"
    "|ojo|oog|oor|ovar|palm|paw|pied?|ribs?|rein|toes?|wing"
)
NO_SIDES = re.compile("[lr](ace|ake|amp|ane|oad|ock|oot)|towe[lr]")  # by accident
SWAP = str.maketrans("LR", "RL")
UNSPACED = re.compile("([左右]|왼쪽|좌측|오른쪽|우측)")  # of scripts that leave no space between words
ELISION = re.compile("\\bl['\u2019]", re.IGNORECASE)  # l'oreille gauche
HUMPS = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
PARTS = re.compile(r"[^\W\d_]+\d*|\d+")

NAMELESS = re.compile(r"background|unlabell?ed|(class|label|structure|region|roi|segment)?[\W_]*\d*", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Sides:
    """What names or a declaration say of left and right among the classes.

    `pairs`: numbers of classes that are each other's mirror image. `alone`: names of classes that have a side and no
    counterpart. `unclear`: names of which it cannot be told. `declared`: whether a user said so.
    `nameless`: whether the classes have numbers in place of names.
    """

    pairs: Pairs = ()
    alone: tuple[str, ...] = ()
    unclear: tuple[str, ...] = ()
    declared: bool = False
    nameless: bool = False

    @property
    def any(self) -> bool:
        """Whether there are classes that have a side, or may have one."""
        return bool(self.pairs or self.alone or self.unclear)

    def check(self, *, what: str, otherwise: str) -> Pairs:
        """The pairs; ValueError where a class has no counterpart. `what` mirrors images, `otherwise` is a way on."""
        if not self.alone and not self.unclear:
            return self.pairs
        faults = [f"{name} has a side and no counterpart among the classes" for name in self.alone[:1]]
        faults += [f"{' and '.join(self.unclear)} may be each other's mirror image, or not"] if self.unclear else []
        raise ValueError(
            f"{what}: what classes become in a mirror is not known, for {faults[0]}; {otherwise}, or declare pairs of "
            "classes by the config's inference.sides (of a classifier: sides), such as [('kidney_a', 'kidney_b')], or "
            "[] for none"
        )

    def remark(self) -> str | None:
        """A sentence where names say nothing."""
        if self.any or self.declared:
            return None
        return (
            "no class name says left or right, so that mirrored images keep their classes; where two classes are each "
            "other's mirror image, declare them by the config's inference.sides"
        )


def read_sides(classes: Sequence[str], declared: Declared | None = None) -> Sides:
    """The sides of classes by their names, or as `declared`: pairs of names or numbers, none of them for no sides.

    ValueError for a declared pair that is no two classes, or a class in two pairs.
    """
    if declared is None:
        nameless = all(NAMELESS.fullmatch(name) for name in classes)
        return replace(_find_sides([_words(name) for name in classes], classes), nameless=nameless)
    number = {name: index for index, name in enumerate(classes)}
    pairs = tuple(tuple(number.get(each, each) for each in pair) for pair in declared)
    named = [each for pair in pairs for each in pair]
    if not all(len(pair) == 2 for pair in pairs) or not set(named) <= set(range(len(classes))):
        raise ValueError(f"sides must be pairs of the classes {', '.join(classes)}, got {list(declared)}")
    if len(set(named)) < len(named):
        raise ValueError(f"sides must name each class once, got {list(declared)}")
    return Sides(pairs=pairs, declared=True)


def mirrored_classes(num_classes: int, pairs: Pairs) -> list[int]:
    """What each class is in a mirror: 3 classes and the pair (1, 2) -> [0, 2, 1]."""
    mirrored = list(range(num_classes))
    for left, right in pairs:
        mirrored[left], mirrored[right] = right, left
    return mirrored


def _find_sides(names: Sequence[list[str]], classes: Sequence[str]) -> Sides:
    """Pairs are classes that have each other alone as counterpart."""
    letters: dict[tuple, set[str]] = defaultdict(set)  # in one place of names that are equal otherwise
    for words in names:
        for place, word in enumerate(words):
            letters[_around(words, place)].add(word.casefold())
    readings = [dict(_readings(words, letters)) for words in names]
    found: dict[Reading, dict[int, int]] = defaultdict(dict)
    for number, each in enumerate(readings):
        for reading, strength in each.items():
            found[reading][number] = strength
    others = [_counterparts(number, each, found) for number, each in enumerate(readings)]
    pairs, alone, unclear = [], [], []
    for number, each in enumerate(readings):
        if len(others[number]) == 1 and len(others[next(iter(others[number]))]) == 1:
            other, strength = next(iter(others[number].items()))
            if strength == PERHAPS:
                unclear.append(classes[number])
            elif number < other:
                pairs.append((number, other))
        elif CLEAR in each.values():
            alone.append(classes[number])
    return Sides(pairs=tuple(pairs), alone=tuple(alone), unclear=tuple(unclear))


def _counterparts(number: int, readings: dict[Reading, int], found: dict[Reading, dict[int, int]]) -> dict[int, int]:
    """{class: how strongly} of the classes whose names are this one's with the sides exchanged, the strongest alone."""
    others: dict[int, int] = {}
    for (rest, sides), strength in readings.items():
        for other, its in found.get((rest, sides.translate(SWAP)), {}).items():
            if other != number:
                others[other] = max(others.get(other, PERHAPS), strength, its)
    return {other: strength for other, strength in others.items() if strength == max(others.values())}


def _words(name: str) -> list[str]:
    """kidney-L, L.kidney, kidneyL, rib_left_1 -> their words and numbers, without accents."""
    spaced = unicodedata.normalize("NFKD", ELISION.sub("", UNSPACED.sub(r" \1 ", unicodedata.normalize("NFC", name))))
    plain = unicodedata.normalize("NFC", "".join(c for c in spaced if not unicodedata.combining(c)))
    return PARTS.findall(HUMPS.sub(" ", plain))


def _around(words: Sequence[str], place: int) -> tuple:
    return (place, *(word.casefold() for i, word in enumerate(words) if i != place and len(words[place]) == 1))


def _readings(words: Sequence[str], letters: dict[tuple, set[str]]) -> Iterator[tuple[Reading, int]]:
    """How a name can be read, and how strongly: its clear sides, else each word that may be one."""
    sides = {}
    for place, word in enumerate(words):
        bare = word.casefold().rstrip("0123456789")
        series = bare in {"l", "r"} and any(len(each) == 1 for each in letters[_around(words, place)] - {"l", "r"})
        if not series and (bare == word.casefold() or len(bare) > 1):  # L1 is a vertebra, and l of s, m, l a size
            found = [side for side, pattern in WORDS.items() if re.fullmatch(pattern, bare)]
            sides |= dict.fromkeys([place] if found else [], *found)
    rest = [word.casefold() for word in words]
    if sides:
        others = [re.sub(r"\D", "", word) if i in sides else word for i, word in enumerate(rest)]
        strength = CLEAR if len({*sides.values()}) == 1 else WITH_OTHER  # left and right: it is its own mirror image
        yield (tuple(filter(None, others)), "".join(sides.values())), strength
        return
    for place, word in enumerate(words):
        for side, other, strength in _weak(word):
            near = letters[_around(words, place)] if len(word) == 1 else set()
            if len(near) <= 2:
                yield (tuple(filter(None, [*rest[:place], other, *rest[place + 1 :]])), side), strength


def _weak(word: str) -> Iterator[tuple[str, str, int]]:
    """(side, what is left of the word, how strongly) for a word that is a side if the other one is a class."""
    low = word.casefold()
    if re.fullmatch(r"[lr]\d+", low):
        yield low[0].upper(), low[1:], WITH_OTHER
    for table, strength in ((ABBREVIATIONS, WITH_OTHER), (LETTERS, PERHAPS)):
        for left, right in table.items():
            if low in (left, right):
                yield ("L" if low == left else "R"), "", strength
    for stems in STEMS:
        for side, stem in zip("LR", stems, strict=True):
            for other in (low.removeprefix(stem), low.removesuffix(stem)):
                if len(low) - len(stem) >= 3 and other != low:
                    yield side, other, WITH_OTHER
    for letter, rest, other in ((low[0], low[1:], low[1:] + "_"), (low[-1], low[:-1], "_" + low[:-1])):
        if letter in "lr" and rest and not NO_SIDES.fullmatch(low):
            certain = len(low) > LONG or bool(OF_THE_BODY.fullmatch(rest))
            yield letter.upper(), other, WITH_OTHER if certain else PERHAPS
