"""The hidden messages: drawn by a formula from a secret of this clone, so that nobody has read them anywhere.

Each has one answer. A third are plain; in the others something else is mentioned too, and the house's rules decide:
what follows "but" counts, and smoke, sparks or burns are urgent whatever else a message is about.
"""

import hmac
import random
from dataclasses import dataclass

URGENT = "urgent"
CUES: dict[str, tuple[str, ...]] = {
    "billing": (
        "I was charged twice for the same order",
        "the invoice shows the wrong amount",
        "my refund has not come through",
        "the card was declined although it is fine",
        "the invoice lacks the tax number",
        "my discount was not taken off",
        "I want to pay in two parts",
        "the receipt is made out to somebody else",
        "you took the money before it was sent",
        "the voucher was not accepted",
    ),
    "delivery": (
        "the parcel never arrived",
        "it was left at the wrong door",
        "the tracking has not moved for a week",
        "half of the order is missing from the box",
        "the driver did not ring",
        "I need it sent to my office instead",
        "the box came open and wet",
        "two boxes came and I ordered one",
        "the carrier says that the address is unknown",
        "nobody can say when it leaves the warehouse",
    ),
    "repair": (
        "the blender does not start",
        "the motor hums and does not turn",
        "the lid no longer closes",
        "it stops after a few seconds",
        "the display stays dark",
        "the kettle drips from below",
        "one of the knives is loose",
        "it rattles at the highest speed",
        "the scale shows a different weight each time",
        "the timer runs backwards",
    ),
    "account": (
        "I cannot log in any more",
        "please change my e-mail address",
        "I want to close my account",
        "the code for signing in never comes",
        "my name is spelt wrong in my profile",
        "I get your newsletter three times",
        "please delete my data",
        "I have two profiles and need one",
        "the page for my password gives an error",
        "my points have disappeared from my profile",
    ),
}
DANGERS = (
    "there is smoke coming out of the back",
    "it throws sparks when I plug it in",
    "I burnt my hand on the plug",
    "the cable melted and smells of fire",
)
_FINE = {
    "billing": "The price was right",
    "delivery": "The parcel came early",
    "repair": "The machine itself works well",
    "account": "Signing in was easy",
}
_NAMES = (
    *("Anna Weber", "Luis Ortega", "Mei Tanaka", "Omar Haddad", "Ruth Cohen", "Jan Novak", "Priya Nair", "Sean Byrne"),
    *("Eva Lind", "Paul Roche", "Nora Vitale", "Tom Adeyemi", "Lena Fuchs", "Igor Petrov", "Sara Dahl", "Ken Mori"),
)
_FRAMES = (
    "This is {name}, order #{number}. {body}.",
    "Order #{number}. {body}.",
    "Good morning, about #{number}: {body}. Regards, {name}",
    "{name} here, #{number}. {body}.",
    "Hello, #{number}. {body}. Thank you, {name}",
)
LABELS = (*CUES, URGENT)


@dataclass(frozen=True)
class Item:
    text: str
    answer: str
    number: str


def draw(secret: str, count: int) -> list[Item]:
    """So many messages, the same for the same secret, no two with one number."""
    found: dict[str, Item] = {}
    turn = 0
    while len(found) < count:
        digest = hmac.new(secret.encode(), f"message {turn}".encode(), "sha256").hexdigest()
        item = _message(random.Random(digest))
        found.setdefault(item.number, item)
        turn += 1
    return list(found.values())


def _message(rng: random.Random) -> Item:
    about, other = rng.sample(sorted(CUES), 2)
    cue, number = rng.choice(CUES[about]), f"{rng.randrange(200_000, 1_000_000)}"
    kind = rng.random()
    body, answer = cue, about
    if kind < 0.35:
        body = f"{_FINE[other]}, but {cue}"
    elif kind < 0.6:
        body, answer = rng.choice(
            [(f"{cue}, and {rng.choice(DANGERS)}", URGENT), (f"{rng.choice(DANGERS)}. Also, {cue}", URGENT)]
        )
    body = body if body.startswith("I ") else body[0].upper() + body[1:]
    frame = rng.choice(_FRAMES)
    return Item(frame.format(name=rng.choice(_NAMES), number=number, body=body), answer, number)
