#!/usr/bin/env python3
"""Scenes of coloured shapes and words drawn with Pillow, with plain questions: another program's pictures for the default model.

    python3 tools/reference/foreign_scenes.py OUT [COUNT=250] [SEED=7]

Writes OUT/<n>.png and OUT/questions.json: [{"image", "question", "answer", "kind"}], four questions a picture. Only what a person
would answer without doubt is asked."""
import json
import math
import pathlib
import random
import sys

from PIL import Image, ImageDraw, ImageFont

COLOURS = {
    "red": (255, 0, 0), "green": (0, 160, 0), "blue": (0, 0, 255), "yellow": (255, 220, 0), "orange": (255, 140, 0),
    "purple": (128, 0, 160), "pink": (255, 130, 190), "brown": (130, 70, 20), "black": (0, 0, 0), "gray": (128, 128, 128),
}
SHAPES = ["circle", "square", "triangle", "star", "diamond", "hexagon", "heart", "cross"]
BACKGROUNDS = [(255, 255, 255), (240, 240, 230), (225, 235, 245)]
FONTS = ["DejaVuSans-Bold.ttf", "DejaVuSans.ttf", "DejaVuSerif-Bold.ttf"]
WORDS = ["STOP", "OPEN", "EXIT", "TAXI", "CAFE", "HOTEL", "BANK", "PARK", "MILK", "SALE", "BOOK", "NORTH"]
SIDE = 224


def polygon(centre, radius, corners, start):
    return [(centre[0] + radius * math.cos(start + 2 * math.pi * k / corners),
             centre[1] + radius * math.sin(start + 2 * math.pi * k / corners)) for k in range(corners)]


def draw_shape(draw, shape, centre, radius, colour, outline):
    x, y = centre
    if shape == "circle":
        draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=colour, outline=outline, width=3)
    elif shape == "square":
        side = radius * 0.9
        draw.rectangle([x - side, y - side, x + side, y + side], fill=colour, outline=outline, width=3)
    elif shape == "star":
        points = []
        for k in range(10):
            r = radius if k % 2 == 0 else radius * 0.42
            points.append((x + r * math.sin(math.pi * k / 5), y - r * math.cos(math.pi * k / 5)))
        draw.polygon(points, fill=colour, outline=outline)
    elif shape == "heart":
        points = []
        for k in range(60):
            t = 2 * math.pi * k / 60
            points.append((x + radius / 17 * 16 * math.sin(t) ** 3,
                           y - radius / 17 * (13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t))))
        draw.polygon(points, fill=colour, outline=outline)
    elif shape == "cross":
        arm = radius * 0.34
        draw.rectangle([x - arm, y - radius, x + arm, y + radius], fill=colour)
        draw.rectangle([x - radius, y - arm, x + radius, y + arm], fill=colour)
    else:
        corners, start = {"triangle": (3, -math.pi / 2), "diamond": (4, 0), "hexagon": (6, 0)}[shape]
        draw.polygon(polygon(centre, radius, corners, start), fill=colour, outline=outline)


def place_word(x, y):
    """The field of a three by three grid when it is plainly inside one, else nothing."""
    def third(value):
        for k, (low, high) in enumerate([(0, 0.27), (0.41, 0.59), (0.73, 1)]):
            if low * SIDE <= value <= high * SIDE:
                return k
        return None
    column, row = third(x), third(y)
    if column is None or row is None:
        return None
    return [["top left", "top", "top right"], ["left", "center", "right"],
            ["bottom left", "bottom", "bottom right"]][row][column]


def article(word):
    return "an" if word[0] in "aeiou" else "a"


def shapes_scene(rng):
    image = Image.new("RGB", (SIDE, SIDE), rng.choice(BACKGROUNDS))
    draw = ImageDraw.Draw(image)
    objects = []
    for _ in range(rng.randint(1, 5)):
        for _ in range(50):
            radius = rng.choice([20, 30, 38])
            x, y = rng.randint(radius + 4, SIDE - radius - 4), rng.randint(radius + 4, SIDE - radius - 4)
            if all(math.hypot(x - o["x"], y - o["y"]) > radius + o["radius"] + 6 for o in objects):
                objects.append({"shape": rng.choice(SHAPES), "colour": rng.choice(list(COLOURS)), "x": x, "y": y, "radius": radius})
                break
    outline = (0, 0, 0) if rng.random() < 0.3 else None
    for o in objects:
        draw_shape(draw, o["shape"], (o["x"], o["y"]), o["radius"], COLOURS[o["colour"]], outline)
    return image, objects


def questions_about(objects, rng):
    shapes = [o["shape"] for o in objects]
    pairs = [(o["colour"], o["shape"]) for o in objects]
    asked = []
    for o in objects:
        if shapes.count(o["shape"]) == 1:
            asked.append((f"What color is the {o['shape']}?", o["colour"], "colour"))
            word = place_word(o["x"], o["y"])
            if word:
                asked.append((f"Where is the {o['shape']}?", word, "position"))
        if [p[0] for p in pairs].count(o["colour"]) == 1:
            asked.append((f"What shape is the {o['colour']} object?", o["shape"], "shape"))
        asked.append((f"Is there {article(o['colour'])} {o['colour']} {o['shape']}?", "yes", "existence"))
    absent = [(c, s) for c in COLOURS for s in SHAPES if s not in shapes]
    colour, shape = rng.choice(absent)
    asked.append((f"Is there {article(colour)} {colour} {shape}?", "no", "existence"))
    asked.append(("How many shapes are there?", str(len(objects)), "count"))
    for a in objects:
        for b in objects:
            if a is not b and shapes.count(a["shape"]) == shapes.count(b["shape"]) == 1 and abs(a["x"] - b["x"]) > 60:
                answer = "yes" if a["x"] < b["x"] else "no"
                asked.append((f"Is the {a['shape']} left of the {b['shape']}?", answer, "relation"))
    by_kind = {}
    for entry in asked:
        by_kind.setdefault(entry[2], []).append(entry)
    kinds = list(by_kind)
    rng.shuffle(kinds)
    return [rng.choice(by_kind[kind]) for kind in kinds[:4]]


def word_scene(rng):
    image = Image.new("RGB", (SIDE, SIDE), rng.choice(BACKGROUNDS))
    draw = ImageDraw.Draw(image)
    word = rng.choice(WORDS) if rng.random() < 0.7 else str(rng.randint(10, 9999))
    font = ImageFont.truetype(rng.choice(FONTS), rng.choice([40, 48]))
    box = draw.textbbox((0, 0), word, font=font)
    width, height = box[2] - box[0], box[3] - box[1]
    x, y = rng.randint(8, max(9, SIDE - width - 8)), rng.randint(20, SIDE - height - 30)
    draw.text((x - box[0], y - box[1]), word, fill=rng.choice([(0, 0, 0), (0, 0, 160), (160, 0, 0)]), font=font)
    return image, [("What does the text say?", word, "reading")]


def main():
    out = pathlib.Path(sys.argv[1])
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 250
    rng = random.Random(int(sys.argv[3]) if len(sys.argv) > 3 else 7)
    out.mkdir(parents=True, exist_ok=True)
    entries = []
    for number in range(count):
        if number % 5 == 4:
            image, asked = word_scene(rng)
        else:
            image, objects = shapes_scene(rng)
            asked = questions_about(objects, rng)
        name = f"{number:03}.png"
        image.save(out / name, optimize=True)
        entries += [{"image": name, "question": q, "answer": a, "kind": k} for q, a, k in asked]
    (out / "questions.json").write_text(json.dumps(entries, indent=0) + "\n")
    print(len(entries), "questions")


main()
