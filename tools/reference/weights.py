"""Writes the files of tests/cases/weights that PyTorch and safetensors define.

usage: weights.py FOLDER      (Python with torch and safetensors)
"""

import argparse
import collections
import os
import pickle
import sys
import zipfile

import torch
from safetensors.torch import save_file

DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8,
          torch.uint8, torch.bool]


def flatten(value, path, found):
    if isinstance(value, torch.Tensor):
        found[path] = value.detach().clone(memory_format=torch.contiguous_format)
    elif isinstance(value, dict):
        for key, item in value.items():
            flatten(item, f"{path}.{key}" if path else str(key), found)
    elif isinstance(value, (list, tuple)):
        for idx, item in enumerate(value):
            flatten(item, f"{path}.{idx}" if path else str(idx), found)
    return found


def checkpoint():
    torch.manual_seed(1)
    base = torch.randn(4, 6)
    state = collections.OrderedDict()
    for dtype in DTYPES:
        values = torch.arange(6) - (0 if dtype == torch.uint8 else 2)
        state["dtype." + str(dtype).removeprefix("torch.")] = values.to(dtype).reshape(2, 3)
    state["parameter"] = torch.nn.Parameter(torch.randn(3))
    state["transposed"] = base.t()
    state["columns"] = base[:, 1::2]
    state["row"] = base[2]
    state["tied"] = base
    state["expanded"] = torch.tensor([1.0, 2.0]).expand(3, 2)
    state["scalar"] = torch.tensor(2.5)
    state["empty"] = torch.zeros(0, 4)
    state["conv"] = torch.randn(2, 3, 2, 2).contiguous(memory_format=torch.channels_last)
    state["half_of_tied"] = base.view(-1)[12:]
    state._metadata = {"": {"version": 1}}
    return {"state_dict": state, "epoch": 3, "rate": 1e-3, "note": "text", "ok": True, "big": 2**80, "none": None,
            "args": argparse.Namespace(width=4), "size": torch.Size([2, 3]), "device": torch.device("cpu"),
            "dtype": torch.bfloat16, "list": [torch.ones(2), {"deep": torch.zeros(1)}], "tuple": (torch.ones(1), 2),
            7: torch.full((2,), 7.0)}


def repack(source, target, method, zip64_limit):
    """The same archive, packed otherwise; every size beyond the limit takes the 64-bit fields."""
    zipfile.ZIP64_LIMIT = zip64_limit
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", method) as new:
        for item in old.infolist():
            new.writestr(zipfile.ZipInfo(item.filename), old.read(item), method)
    zipfile.ZIP64_LIMIT = 2**31 - 1


class Visual(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = torch.nn.Conv2d(3, 2, 2, bias=False)
        self.proj = torch.nn.Parameter(torch.randn(2, 4))

    def forward(self, x):
        return self.conv1(x).mean((2, 3)) @ self.proj


class Scripted(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.visual = Visual()
        self.register_buffer("steps", torch.arange(3))

    def forward(self, x):
        return self.visual(x) * self.steps.sum()


class Command:
    def __reduce__(self):
        return os.system, ("touch executed",)


def main(folder):
    os.makedirs(folder, exist_ok=True)
    at = lambda name: os.path.join(folder, name)
    saved = checkpoint()
    torch.save(saved, at("zip.bin"))
    repack(at("zip.bin"), at("deflated.bin"), zipfile.ZIP_DEFLATED, 2**31 - 1)
    repack(at("zip.bin"), at("zip64.bin"), zipfile.ZIP_STORED, 20)
    torch.save(saved, at("before-1.6.bin"), _use_new_zipfile_serialization=False)
    torch.save(saved, at("protocol-4.bin"), pickle_protocol=4)
    save_file(flatten(saved, "", {}), at("expected.safetensors"), {"format": "pt"})
    torch.manual_seed(2)
    scripted = torch.jit.script(Scripted().eval())
    scripted.save(at("script.pt"))
    save_file({name: value.detach().clone() for name, value in scripted.state_dict().items()},
              at("script-expected.safetensors"))
    torch.save({"a": Command(), "b": torch.ones(1)}, at("command.bin"))
    torch.save({"a": Command()}, at("command-before-1.6.bin"), _use_new_zipfile_serialization=False)
    torch.save({"w": torch.zeros(2, dtype=torch.complex64)}, at("complex.bin"))
    torch.save({"w": torch.zeros(2, dtype=torch.float8_e4m3fn)}, at("float8.bin"))
    torch.save(torch.nn.Linear(2, 2), at("module.bin"))
    with open(at("plain-pickle.bin"), "wb") as file:
        pickle.dump({"w": [1, 2]}, file, protocol=2)


if __name__ == "__main__":
    main(sys.argv[1])
