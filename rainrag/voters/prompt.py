"""What a vision-language model is asked: the wording, the order of images, and a hash that ballots carry.

The paper gives no prompt; it says that the models answer True or False on the query image and the retrieved set
(eq. 4). Ours asks about the rain alone. Pairs (alignment, the target's quality) are the audit's business.

Instruction and references come first and the candidate last, so that a server's prefix cache serves all questions
with the same references.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rainrag.core.errors import UsageError, did_you_mean
from rainrag.core.files import fingerprint
from rainrag.core.images import U8

#: A prompt as a model gets it: texts and images in their order.
Parts = tuple[str | U8, ...]

#: name -> (word for yes, word for no)
WORDS: dict[str, tuple[str, str]] = {"true-false": ("True", "False"), "yes-no": ("Yes", "No")}

LAYOUTS = ("auto", "images", "montage")

CRITERIA = (
    "Judge only the rain: the shape and size of streaks and drops; their motion blur or focus; their transparency; "
    "their density and how it changes with depth; how they catch, bend and scatter the light of the scene. Leave aside "
    "what the scene shows, its colours, and the size of the images."
)
CANDIDATE = "is the candidate: its rain may be real, or it may have been added by a program."
IMAGES = (
    "You see {count} images. {references} photographed in real rain, in scenes like the candidate's. The last image"
)
MONTAGE = (
    "The image is a montage of {count} labelled panels. The panels on the right, REAL 1 to REAL {n}, were photographed "
    "in real rain, in scenes like the candidate's. The large panel on the left, CANDIDATE,"
)
ALONE = "The image"
CLAIM = "the rain in the candidate looks like rain that a camera captured"
AS_REFERENCES = ", as in the real photographs"
CLOSING = {
    "true-false": "Statement: {claim}. Is the statement true? Answer with one word, True or False.",
    "yes-no": "Is it so that {claim}? Answer with one word, Yes or No.",
}


@dataclass(frozen=True)
class Prompt:
    """The wording for one pair of answer words.

    Args:
        words: a key of ``WORDS``.
    """

    words: str = "true-false"

    def __post_init__(self) -> None:
        if self.words not in WORDS:
            raise UsageError(f"no answer words '{self.words}'", hint=did_you_mean(self.words, list(WORDS)))

    def instruction(self, n: int, layout: str) -> str:
        """What stands before (images) or after (one image) the pictures.

        Args:
            n: references; 0 asks about the image alone, whatever the layout.
            layout: ``images`` or ``montage``.
        """
        if n == 0:
            opening = ALONE
        elif layout == "montage":
            opening = MONTAGE.format(count=n + 1, n=n)
        else:
            references = "The first was" if n == 1 else f"The first {n} were"
            opening = IMAGES.format(count=n + 1, references=references)
        return f"{opening} {CANDIDATE} {CRITERIA}"

    def closing(self, n: int) -> str:
        """The question itself, with the two answer words."""
        return CLOSING[self.words].format(claim=CLAIM + (AS_REFERENCES if n else ""))

    def interleave(self, references: Sequence[U8], query: U8) -> Parts:
        """Instruction, references, candidate, question: for models that take several images."""
        parts: list[str | U8] = [self.instruction(len(references), "images") + "\n"]
        for i, image in enumerate(references):
            parts += [f"Real {i + 1}: ", image, "\n"]
        return (*parts, "Candidate: ", query, "\n" + self.closing(len(references)))

    def single(self, image: U8, n: int) -> Parts:
        """One image (a montage where ``n`` > 0), then the text, as models of one image were trained."""
        return image, f"\n{self.instruction(n, 'montage')}\n{self.closing(n)}"

    @property
    def hash(self) -> str:
        """16 hex digits that change with any word of the prompt, in either layout."""
        texts = [[self.instruction(n, layout), self.closing(n)] for n in range(4) for layout in LAYOUTS[1:]]
        return fingerprint(["Real", "Candidate", *texts])


def images_of(parts: Parts) -> list[U8]:
    """The images of a prompt, in order."""
    return [p for p in parts if not isinstance(p, str)]
