"""Sentences for the synthetic voices: seeded, varied, and rich in the sounds that show on the lips."""

import random

NOUNS = """map boat bubble puppet piper movie camp lamp paper people baby summer moment member market mirror mountain
pepper apple pebble problem number bomb tomb ribbon robber rabbit cabin carpet puppy bumper shampoo bamboo plum thumb
farm film foam family father fever office coffee leaf roof knife wife river valley village voice oven wave glove
window water wheel wood wolf woman winter wagon weather twin queen quilt language sandwich shower tower flower
moon spoon room school food fruit juice shoe glue boot tooth view music cube tune group soup noodle balloon
key tree street teacher sheep queen field meal dream machine screen beach leaf knee piece cheese green season
car heart garden father palm glass dance task hat cat bag hand plan man song dog law ball door floor story board
house mouth cloud town sound cow road snow phone home bone stone window yellow coat note boy toy coin oil noise
sky light night child eye pie time price cake day rain train game name face place bird word girl nurse earth
sister brother student doctor judge engine bridge page orange station nation fish dish shoulder treasure television
city river finger ring king thing song cup sun bus love month egg bed desk letter lesson breakfast ship chip picture
milk kitchen thing sugar book foot cook wool idea area ear year chair bear square hour fire tour poor""".split()

ADJECTIVES = """big blue purple bumpy simple humble famous modern warm calm dim plump empty plain brave public possible
impossible available important maximum minimum five few full fine fair heavy vivid even favourite white wide wet wild
wise wonderful quick quiet sweet new good cool smooth true few useful green clean deep free cheap easy real sleepy
happy black bad sad glad hard dark large small long strong tall raw hot old cold slow low open round loud brown proud
bright light high dry kind great late strange pale safe red dead ready young funny lucky sudden early thirsty perfect
thin thick sharp rich shy precious usual ordinary noisy bored tired fresh serious curious""".split()

VERBS = """bought painted pushed pulled put picked packed passed paid planted played pleased promised proved published
moved made met missed mapped measured mentioned married managed built baked borrowed broke brought burned bumped
found fixed felt fed followed forgot filled viewed visited valued wanted washed watched wore worked wrote won warmed
used knew threw chose drew grew blew moved cooled saw needed received believed reached greeted cleaned read seemed
kept stopped jumped helped grabbed dropped climbed rubbed wrapped sipped tapped clapped hummed swam thought taught
caught called walked talked told sold showed closed opened crossed lost touched loved covered studied learned heard
turned served gave made saved ate carried counted allowed announced shared changed tried liked described offered
expected remembered shook looked took understood finished washed judged enjoyed joined pointed""".split()

ADVERBS = """maybe probably perhaps simply slowly quickly quietly happily finally mainly mostly always never often soon
really easily equally usually suddenly carefully beautifully warmly badly boldly openly properly abruptly today
tomorrow yesterday again before above below somewhere everywhere""".split()

PLACES = """in on under above below behind before beside near from by with without through upon around along past""".split()

PEOPLE = """Bob Pam Mary Peter Paul Emma Bill Ben Tom Amy Philip Vivian Wendy William Lucy Susan George Judy Eve Steve
Anna Oliver Robert Abby Pippa Mabel Homer Maria Thomas Hugo Ruby Sue Lee""".split()

CLAUSES = (
    "the {a} {n} {v} the {n}",
    "{p} {v} a {a} {n} {l} the {n}",
    "we {v} {d} {l} the {a} {n}",
    "my {n} and your {n} were {a} and {a}",
    "{p} and {p} {d} {v} some {a} {n}",
    "do you believe the {n} {v} {p}",
    "there are {u} {a} {n}s {l} this {n}",
    "who {v} the {n} {l} {p}",
    "if the {n} is {a} you may move {l} the {n}",
    "what a {a} {n} {p} {v} for me",
    "{d} the {n} {v} {u} {n}s",
    "please put the {n} {l} a {a} {n}",
    "I would {d} be {a}",
    "you see how {a} it was",
    "{w}, {w} {w} and {w}",
    "{w} {w} {w} {w} {w}",
)

NUMBERS = "two three four five six seven eight nine ten eleven twelve twenty thirty fifty a hundred a thousand".split(" ")


def sentence(rng: random.Random) -> str:
    """One sentence of 1 or 2 clauses, one synthesis unit (no inner full stop)."""
    everything = (NOUNS, ADJECTIVES, VERBS, ADVERBS)
    fill = {
        "n": lambda: rng.choice(NOUNS),
        "a": lambda: rng.choice(ADJECTIVES),
        "v": lambda: rng.choice(VERBS),
        "d": lambda: rng.choice(ADVERBS),
        "l": lambda: rng.choice(PLACES),
        "p": lambda: rng.choice(PEOPLE),
        "u": lambda: rng.choice(NUMBERS),
        "w": lambda: rng.choice(rng.choice(everything)),
    }

    def clause() -> str:
        out = rng.choice(CLAUSES)
        for slot, pick in fill.items():
            while "{" + slot + "}" in out:
                out = out.replace("{" + slot + "}", pick(), 1)
        return out

    parts = [clause() for _ in range(rng.choice((1, 1, 2)))]
    return rng.choice((", and ", ", ", " but ")).join(parts) + "."
