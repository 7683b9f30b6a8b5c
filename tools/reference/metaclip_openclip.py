"""Writes tests/cases/metaclip-openclip-a and metaclip-train-a: MetaCLIP in the layout of its own files, by the authors' modules.

Needs Python with torch, torchvision, regex and Pillow, and checkouts of facebookresearch/MetaCLIP (f47f784) and
mlfoundations/open_clip (89fb801):

    python3 tools/reference/metaclip_openclip.py tests/cases METACLIP_CHECKOUT OPEN_CLIP_CHECKOUT

The towers, the picture transform and the loss are MetaCLIP's (src/mini_clip), the tokenizer is open_clip's, which keeps the end of
text where it cuts. Its vocabulary is the one of metaclip-a. ftfy, which open_clip calls, leaves the texts here as they are.
"""

import gzip
import importlib.util
import json
import math
import os
import shutil
import sys
import tempfile
import types

# tokenizers.py of this folder is called like a library that is needed.
sys.path[:] = [p for p in sys.path if os.path.abspath(p or ".") != os.path.dirname(os.path.abspath(__file__))]

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw
from safetensors.torch import save_file

torch.set_num_threads(1)
CASES, METACLIP, OPEN_CLIP = (os.path.abspath(path) for path in sys.argv[1:4])
TEXTS = ["a photo of a cat", "Two dogs, running on the beach!",
         "A long caption of the architecture, which goes on and on. " * 4 + "Its end is never read."]
GRADS = ["logit_scale", "text_projection", "visual.proj", "token_embedding.weight", "visual.conv1.weight", "ln_final.weight",
         "transformer.resblocks.1.mlp.c_fc.weight", "visual.transformer.resblocks.0.attn.out_proj.bias"]
MODEL = {"embed_dim": 24, "quick_gelu": True,
         "vision_cfg": {"image_size": 40, "layers": 3, "width": 52, "head_width": 26, "mlp_ratio": 4.9231, "patch_size": 8},
         "text_cfg": {"context_length": 77, "vocab_size": 600, "width": 40, "heads": 5, "layers": 2}}


def put(folder, name, value):
    with open(os.path.join(folder, name), "w", encoding="utf-8") as f:
        json.dump(value, f, indent=2)
        f.write("\n")


def load(name, path):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def open_clip_tokenizer(merges):
    """SimpleTokenizer over a small merges.txt, which has no empty last line in the file of the package either."""
    sys.modules["ftfy"] = types.SimpleNamespace(fix_text=lambda text: text)
    path = os.path.join(OPEN_CLIP, "src", "open_clip", "tokenizer.py")
    with open(merges, encoding="utf-8") as f:
        lines = f.read().rstrip("\n")
    with tempfile.TemporaryDirectory() as folder:
        small = os.path.join(folder, "bpe.txt.gz")
        with gzip.open(small, "wb") as f:
            f.write(lines.encode())
        with open(path, encoding="utf-8") as f:
            code = f.read().replace("_tokenizer = SimpleTokenizer()", "")  # would open the whole vocabulary
        module = types.ModuleType("open_clip_tokenizer")
        module.__file__ = path
        exec(compile(code, path, "exec"), module.__dict__)
        return module.SimpleTokenizer(bpe_path=small, context_length=MODEL["text_cfg"]["context_length"])


def randomise(model, seed):
    """Every parameter changes the output: no zero biases, no unit norms."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            noise = torch.randn(parameter.shape, generator=generator)
            if ".ln_" in "." + name and name.endswith("weight"):
                value = 1 + 0.2 * noise
            elif parameter.ndim == 0:
                value = 2.5 + 0.1 * noise
            elif "embedding" in name:
                value = 0.4 * noise
            elif parameter.ndim == 1:
                value = 0.1 * noise
            else:
                value = noise / math.sqrt(parameter.shape[0] if name.endswith(("proj", "projection")) else parameter[0].numel())
            parameter.copy_(value)


def picture(path, seed, width, height):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    base = np.stack([x * 255 / (width - 1), y * 255 / (height - 1), (x + 2 * y) * 3 % 256], axis=-1)
    image = Image.fromarray(np.clip(base + rng.normal(0, 12, base.shape), 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for _ in range(6):
        x0, y0, w, h = (int(rng.integers(0, n)) for n in (width, height, width // 2, height // 2))
        draw.ellipse([x0, y0, x0 + w, y0 + h], fill=tuple(int(c) for c in rng.integers(0, 256, 3)))
    image.save(path)


def write(name, trains):
    folder = os.path.join(CASES, name)
    shutil.rmtree(folder, ignore_errors=True)
    checkpoint = os.path.join(folder, "checkpoint")
    for part in ("checkpoint", "media"):
        os.makedirs(os.path.join(folder, part))
    for file in ("merges.txt", "vocab.json", "tokenizer_config.json", "special_tokens_map.json"):
        shutil.copyfile(os.path.join(CASES, "metaclip-a", "checkpoint", file), os.path.join(checkpoint, file))
    put(checkpoint, "open_clip_config.json", {
        "model_cfg": MODEL, "preprocess_cfg": {"mean": [0.48145466, 0.4578275, 0.40821073],
                                               "std": [0.26862954, 0.26130258, 0.27577711]}})

    for package in ("src", "src.mini_clip"):
        sys.modules[package] = types.ModuleType(package)
    code = os.path.join(METACLIP, "src", "mini_clip")
    load("src.mini_clip.utils", os.path.join(code, "utils.py"))
    model = load("src.mini_clip.model", os.path.join(code, "model.py")).CLIP(**MODEL).float()
    randomise(model, 700)
    model.eval()
    torch.save({"epoch": 12, "name": "b32_tiny", "state_dict": model.state_dict()}, os.path.join(checkpoint, "b32_tiny.pt"))

    transform = load("src.mini_clip.transform", os.path.join(code, "transform.py")).image_transform(40, is_train=False)
    # The first leaves an odd number of pixels over, whose half torchvision rounds to even: 59 - 40.
    paths = []
    for i, size in enumerate(((83, 56), (45, 78))):
        paths.append(f"media/{'ab'[i]}.png")
        picture(os.path.join(folder, paths[-1]), 70 + i, *size)
    pixels = torch.stack([transform(Image.open(os.path.join(folder, path))) for path in paths])
    ids = open_clip_tokenizer(os.path.join(checkpoint, "merges.txt"))(TEXTS)
    assert int((ids[2] == 599).nonzero()[0]) == 76, "the long text is not cut"
    written = TEXTS
    if trains:  # the i-th text belongs to the i-th picture
        written, ids = TEXTS[:len(paths)], ids[:len(paths)]
    images, texts, scale = model(pixels, ids)
    results = [("pixel_values", pixels, 2e-6), ("input_ids", ids, None), ("image_embeds", images, 2e-5), ("text_embeds", texts, 2e-5),
               ("logits_per_image", scale * images @ texts.T, 2e-4)]
    if trains:
        loss = load("src.mini_clip.loss", os.path.join(code, "loss.py")).ClipLoss()(images, texts, scale)
        loss.backward()
        parameters = dict(model.named_parameters())
        results = [results[0], results[1], results[4], ("loss", loss, 1e-5)]
        results += [("grad/state_dict." + key, parameters[key].grad, 1e-3 * float(parameters[key].grad.std(correction=0)) + 1e-6)
                    for key in GRADS]

    expected, checks = {}, []
    for tensor, value, atol in results:
        expected[tensor] = value.detach().contiguous()
        checks.append({"tensor": tensor, "exact": True} if atol is None else
                      {"tensor": tensor, "atol": float(f"{atol:.3g}"), "rtol": 1e-3 if tensor.startswith("grad/") else 1e-5})
    save_file(expected, os.path.join(folder, "expected.safetensors"))
    put(folder, "case.json", {
        "format": 1, "system": "metaclip",
        "variant": "open_clip layout: " + ("contrastive loss over two pairs" if trains else
                                           "state_dict in a .pt, fused q k v, projections on the right, texts padded to 77"),
        "reference": f"src/mini_clip (CLIP, image_transform{', ClipLoss' if trains else ''}) of facebookresearch/MetaCLIP@f47f784 and SimpleTokenizer of "
                     f"mlfoundations/open_clip@89fb801 without ftfy; torch {torch.__version__.split('+')[0]}, CPU, float32",
        "task": "train" if trains else "embed", "inputs": {"texts": written, "images": paths}, "checks": checks})
    print(name, ids[:, :12].tolist(), (scale * images @ texts.T).tolist())


write("metaclip-openclip-a", trains=False)
write("metaclip-train-a", trains=True)
