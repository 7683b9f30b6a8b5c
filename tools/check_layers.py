#!/usr/bin/env python3
"""Static rules of the tree: who includes whom, where names of systems may stand, budgets of lines.

Prints every violation as FILE:LINE: what, and exits 1 when there is one."""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
SRC = ROOT / "src"

MAY = {
    "base": "",
    "media": "base kernels",
    "text": "base",
    "kernels": "base",
    "tensor": "base",
    "ops": "base tensor kernels",
    "weights": "base tensor",
    "nn": "base tensor ops weights",
    "parts": "base tensor ops weights nn media text",
    "system": "base tensor ops weights nn media text",
    "models": "base tensor ops weights nn parts media text system",
    "engine": "base tensor media text weights system",
    "train": "base tensor media text ops weights nn system",
    "app": "base media text tensor ops weights system engine train",
}
# Third-party headers and the rooms that may use them.
ONLY = {
    r"(ATen|c10)/": "tensor ops weights nn parts system models engine train app",
    r"torch/csrc/autograd/custom_function\.h": "ops train",  # a kernel's backward stands beside it
    r"torch/(?!csrc/autograd/custom_function\.h)": "train",
    r"(hwy/|dnnl|oneapi/)": "kernels",
    r"vips/": "media",
    r"cairo": "media",
    r"(jpeglib|jerror|avif/)": "media",
    r"pcre2": "text",
    r"curl/": "app",
    r"CLI/": "app",
}
LAYER_NAMES = re.compile(r"^\s*(struct|class) \w*(Attention|Mlp|Rope|RmsNorm|LayerNorm)\b(?!.*;)")
LAYERS_AT_HOME = {"nn", "parts", "ops", "kernels"}
BUDGETS = {"models": 400, "parts": 600}
ANY_FILE = 900

problems = []


def complain(path, line, what):
    problems.append(f"{path.relative_to(ROOT)}:{line}: {what}")


def main():
    systems = (SRC / "models" / "all.cc").read_text()
    files = sorted(p for p in SRC.rglob("*") if p.suffix in {".h", ".cc"})
    for path in files:
        room = path.relative_to(SRC).parts[0]
        family = path.relative_to(SRC).parts[1] if room == "models" else ""
        is_test = path.stem.endswith(("_test", "_bench", "_fuzz"))
        lines = path.read_text().splitlines()
        budget = BUDGETS.get(room, ANY_FILE)
        if len(lines) > budget:
            complain(path, len(lines), f"{len(lines)} lines, at most {budget} in src/{room}: is it one thing?")
        for number, line in enumerate(lines, 1):
            if any(ord(letter) > 126 for letter in line) and not is_test:
                complain(path, number, "not ASCII")
            if re.search(r"\b(TODO|FIXME|XXX)\b", line):
                complain(path, number, "an open end: finish it or write it into docs/STATUS.md")
            found = re.match(r'\s*#\s*include\s+["<]([^">]+)[">]', line)
            if found:
                check_include(path, number, found.group(1), room, family)
            if room not in LAYERS_AT_HOME and not is_test and LAYER_NAMES.match(line):
                complain(path, number, "a layer outside nn/ and parts/")
    for header in re.findall(r'#include "(models/[^"]+)"', systems):
        if not (SRC / header).exists():
            complain(SRC / "models" / "all.cc", 1, f"{header} does not exist")
    print("\n".join(problems) if problems else f"{len(files)} files, no violation")
    return 1 if problems else 0


def check_include(path, number, include, room, family):
    parts = include.split("/")
    target = parts[0]
    if target in MAY and len(parts) > 1:
        if target != room and target not in MAY[room].split():
            complain(path, number, f"src/{room} may not include src/{target} ({include})")
        is_table = path.name == "all.cc"
        if room == target == "models" and not is_table and len(parts) > 2 and parts[1] not in (family, "common"):
            complain(path, number, f"families do not see each other ({include}): move what they share to parts/ or models/common/")
    for pattern, rooms in ONLY.items():
        if re.match(pattern, include) and room not in rooms.split():
            complain(path, number, f"only {rooms} may include {include}")


sys.exit(main())
