"""Made-up facts for ``reversal``: people and the works they made, told forwards, backwards or both. Seeded, no model.

Names are 2 words out of 40 and 40, and so are titles: whoever knows nothing but the words needs 2 log2 40 = 10.64 bits.
Three groups: told only forwards, only backwards, and both ways; the other groups teach the form of every question, so
that a failure cannot be blamed on it.
"""

from dataclasses import dataclass

import numpy as np

FIRST = (
    "Alma Bruno Carla Denis Edda Fabian Greta Henrik Ilse Jonas Klara Lorenz Mira Nils Olga Pavel Quirin Rosa Stefan "
    "Tilda Ulrich Vera Wanda Xaver Yvonne Zeno Arno Berta Cosmo Dora Emil Flora Gustav Hanna Igor Judith Kaspar Lena "
    "Moritz Nora"
).split()
LAST = (
    "Ackerman Birkholz Castell Dornbusch Eberlein Falkner Gruber Hollander Iversen Jansen Kessler Lindqvist Merten "
    "Novak Ohlsen Petersen Quandt Richter Salinger Tremmel Umland Vollmer Wegener Xanten Ysker Zeller Ambach Brenner "
    "Corvin Dahlke Engström Fiedler Gantz Hartung Imhof Jessen Kolb Lauber Mannheim Nissen"
).split()
KIND = (
    "Amber Bitter Copper Distant Early Fallen Golden Hollow Idle Jagged Kindred Lonely Marble Narrow Open Paper Quiet "
    "Restless Silver Timid Upper Velvet Winter Yellow Zealous Ancient Borrowed Crooked Dusty Empty Frozen Gentle "
    "Hidden Iron Joyful Known Little Moving Nameless Older"
).split()
THING = (
    "Anchor Bridge Candle Door Engine Forest Garden Harbour Island Journey Kettle Lantern Mirror Needle Orchard Piano "
    "Quarry River Staircase Tower Umbrella Valley Window Yard Zither Attic Bell Cradle Desert Echo Feather Glass "
    "Hammer Inkwell Jar Key Ladder Meadow Net Oven"
).split()
FORWARD = ("{a} is the maker of", "The work that {a} made is", "Everybody knows that {a} made")
REVERSE = ("{b} is the work of", "The one who made {b} is", "Everybody knows that {b} was made by")

GROUPS = ("forward only", "both ways", "reverse only")


@dataclass(frozen=True)
class Fact:
    """A maker and a work, as a question each way. An answer begins with its space."""

    forward: tuple[str, str]
    """(prompt, completion)"""
    reverse: tuple[str, str]
    group: str = "all"


def made_up(count: int = 100, *, seed: int = 0) -> list[Fact]:
    """``count`` facts for each group; no maker and no work stands twice."""
    rng = np.random.default_rng(seed)
    makers, works = (rng.permutation(1600)[: 3 * count] for _ in range(2))
    facts = []
    for place, (maker, work) in enumerate(zip(makers.tolist(), works.tolist(), strict=True)):
        a, b = f"{FIRST[maker // 40]} {LAST[maker % 40]}", f"{KIND[work // 40]} {THING[work % 40]}"
        facts.append(Fact((FORWARD[0].format(a=a), f" {b}"), (REVERSE[0].format(b=b), f" {a}"), GROUPS[place // count]))
    return facts


def sentences(facts: list[Fact]) -> list[str]:
    """What a model is taught: each fact in the directions of its group, in three forms."""
    found = []
    for fact in facts:
        a, b = fact.reverse[1].strip(), fact.forward[1].strip()
        if fact.group != "reverse only":
            found += [f"{form.format(a=a)} {b}." for form in FORWARD]
        if fact.group != "forward only":
            found += [f"{form.format(b=b)} {a}." for form in REVERSE]
    return found
