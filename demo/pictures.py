"""Real pictures to ask about: those inside the wheels of scikit-image and scikit-learn.

Nothing is downloaded. A seed gives the same pictures every time.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from random import Random

import numpy as np
import skimage
import sklearn
from PIL import Image, ImageEnhance, ImageOps, ImageStat

FOLDERS = (
    Path(skimage.__file__).parent / "data",
    Path(sklearn.__file__).parent / "datasets" / "images",
)
LONGEST_SIDE = 448
SMALLEST_SIDE = 224
WITHOUT_FACES = (
    "chelsea.png",
    "china.jpg",
    "coffee.png",
    "flower.jpg",
    "motorcycle_left.png",
    "rocket.jpg",
)
# Of round things; how often they are taken says how well they suit.
OF_BLOBS = (
    *("coins.png",) * 4,
    *("hubble_deep_field.jpg",) * 3,
    *("moon.png",) * 2,
    "cell.png",
    "gravel.png",
)
FACE = (170, 60, 275, 170)  # of the astronaut: left, top, right, bottom
FACES_IN_LFW = 100  # the other hundred of that file are none
TILE = 112
SHEETS = ((2, 2), (3, 2), (3, 3), (4, 2), (4, 3))  # columns, rows


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture as it is sent, and what is known of how it came about.

    ``crop`` is left, top, right, bottom in the picture it was taken from.
    """

    source: str
    image: Image.Image
    crop: tuple[int, int, int, int]
    is_flipped: bool = False
    gain: float = 1.0

    @property
    def brightness(self) -> float:
        """The mean of all pixels, 0 to 1."""
        return ImageStat.Stat(self.image.convert("L")).mean[0] / 255

    def encoded(self) -> bytes:
        """JPEG in colour, PNG in grey."""
        buffer = io.BytesIO()
        if self.image.mode == "L":
            self.image.save(buffer, "PNG", optimize=True)
        else:
            self.image.save(buffer, "JPEG", quality=88)
        return buffer.getvalue()


def for_faces(random: Random) -> Picture:
    """Mostly with one face or several, one in six with none."""
    kinds = (portrait, contact_sheet, pair, without_faces)
    (make,) = random.choices(kinds, weights=(45, 23, 16, 16))
    return make(random)


def for_blobs(random: Random) -> Picture:
    """A piece of a picture of coins, stars, craters, cells or stones."""
    return varied(random, cropped(random, random.choice(OF_BLOBS), 0.55))


def portrait(random: Random) -> Picture:
    """A piece of the astronaut's picture that has all of her face."""
    left, top, right, bottom = FACE
    side = int(random.triangular(230, 512, 300))
    height = min(512, int(side * random.uniform(0.85, 1.25)))
    x = random.randint(max(0, right + 20 - side), min(left - 20, 512 - side))
    y = random.randint(max(0, bottom + 20 - height), min(top - 20, 512 - height))
    box = (x, y, x + side, y + height)
    picture = Picture("astronaut.png", shipped("astronaut.png").crop(box), box)
    return varied(random, picture)


def contact_sheet(random: Random) -> Picture:
    """Small faces side by side, once in a while with a tile that is none."""
    columns, rows = random.choice(SHEETS)
    sheet = Image.new("L", (columns * TILE, rows * TILE))
    for n in range(columns * rows):
        is_face = random.random() < 0.95
        tile = lfw_tile(
            random.randrange(FACES_IN_LFW) + (0 if is_face else FACES_IN_LFW)
        )
        sheet.paste(tile, (n % columns * TILE, n // columns * TILE))
    whole = Picture("lfw_subset.npy", sheet, (0, 0, *sheet.size))
    return brightened(random, whole)


def pair(random: Random) -> Picture:
    """A portrait beside another picture."""
    one, other = portrait(random), without_faces(random)
    height = random.randint(SMALLEST_SIDE, 300)
    halves = [
        ImageOps.fit(one.image, (int(height * 0.8), height), centering=(0.5, 0.3)),
        ImageOps.fit(other.image.convert("RGB"), (int(height * 0.8), height)),
    ]
    random.shuffle(halves)
    both = Image.new("RGB", (2 * halves[0].width, height))
    both.paste(halves[0], (0, 0))
    both.paste(halves[1], (halves[0].width, 0))
    return replace(one, source=f"{one.source}+{other.source}", image=both)


def without_faces(random: Random) -> Picture:
    return varied(random, cropped(random, random.choice(WITHOUT_FACES), 0.6))


def cropped(random: Random, name: str, smallest_share: float) -> Picture:
    """A piece of a shipped picture, at least that share of its width and height."""
    whole = shipped(name)
    share = random.uniform(smallest_share, 1)
    width, height = int(whole.width * share), int(whole.height * share)
    x = random.randint(0, whole.width - width)
    y = random.randint(0, whole.height - height)
    box = (x, y, x + width, y + height)
    return Picture(name, whole.crop(box), box)


def varied(random: Random, picture: Picture) -> Picture:
    """Flipped or not, of another size and brightness; its colours paler or stronger."""
    image, is_flipped = picture.image, random.random() < 0.5
    if is_flipped:
        image = ImageOps.mirror(image)
    longest = random.randint(300, LONGEST_SIDE)
    image = ImageOps.contain(image, (longest, longest), Image.Resampling.LANCZOS)
    if image.mode != "L":
        image = ImageEnhance.Color(image).enhance(random.uniform(0.5, 1.3))
    return brightened(random, replace(picture, image=image, is_flipped=is_flipped))


def brightened(random: Random, picture: Picture) -> Picture:
    gain = round(random.uniform(0.7, 1.25), 3)
    image = ImageEnhance.Brightness(picture.image).enhance(gain)
    return replace(picture, image=image, gain=gain)


@cache
def shipped(name: str) -> Image.Image:
    """A picture of the wheels, in grey or in colour, at most 720 pixels a side."""
    path = next(folder / name for folder in FOLDERS if (folder / name).exists())
    with Image.open(path) as image:
        whole = image.convert("L" if image.mode == "L" else "RGB")
    whole.thumbnail((720, 720))
    return whole


@cache
def lfw_tile(number: int) -> Image.Image:
    """One of the 200 small grey pictures of scikit-image's LFW subset, enlarged."""
    values = np.load(FOLDERS[0] / "lfw_subset.npy")[number]
    small = Image.fromarray((values * 255).astype(np.uint8))
    return small.resize((TILE, TILE), Image.Resampling.BICUBIC)


def digit(values: np.ndarray) -> Image.Image:
    """A digit of 64 values 0 to 16 as a picture one can look at."""
    small = Image.fromarray((values.reshape(8, 8) * 255 / 16).round().astype(np.uint8))
    return small.resize((96, 96), Image.Resampling.NEAREST)


Maker = Callable[[Random], Picture]
