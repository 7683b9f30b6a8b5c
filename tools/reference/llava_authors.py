"""Writes the cases of LLaVA-1.5 and BakLLaVA in their authors' layout, computed by the authors' own modules.

Needs Python with torch, transformers, sentencepiece and Pillow, and checkouts of haotian-liu/LLaVA (c121f04) and
SkunkworksAI/BakLLaVA (0ca9641):

    python3 tools/reference/llava_authors.py tests/cases LLAVA_CHECKOUT llava-1.5-authors-a llava-1.5-authors-train-a
    python3 tools/reference/llava_authors.py tests/cases BAKLLAVA_CHECKOUT bakllava-authors-a

From the checkout come the model class with its merge of pictures and text, the vision tower, process_images,
tokenizer_image_token, the conversation template and, out of train.py, preprocess_multimodal and preprocess_v1. Two things
of transformers 4 are put in their place: the Pillow image processor, and the slow LlamaTokenizer on SentencePiece.
The tokenizer models are those of llava-1.5-a and bakllava-a.
"""

import __future__

import ast
import copy
import importlib
import json
import math
import os
import shutil
import sys
import tempfile
import types
from typing import Dict, Sequence

# tokenizers.py of this folder is called like a library that is needed.
sys.path[:] = [p for p in sys.path if os.path.abspath(p or ".") != os.path.dirname(os.path.abspath(__file__))]

import numpy as np
import torch
import transformers
from PIL import Image, ImageDraw
from safetensors.torch import save_file
from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel
from transformers.tokenization_utils_sentencepiece import SentencePieceBackend

torch.set_num_threads(1)
transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()
CASES, CHECKOUT, WANTED = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2]), sys.argv[3:]
TOWER = "openai/clip-vit-large-patch14-336"
NEW_TOKENS = 10


# ---------------------------------------------------------------- the authors' code


def authors():
    """The modules needed, without the packages' own imports of training and serving."""
    for name in ("llava", "llava.model", "llava.model.language_model"):
        package = types.ModuleType(name)
        package.__path__ = [os.path.join(CHECKOUT, *name.split("."))]
        sys.modules[name] = package
    load = importlib.import_module
    code = types.SimpleNamespace(utils=load("llava.mm_utils"), talk=load("llava.conversation"), constants=load("llava.constants"))
    load("llava.model.multimodal_encoder.clip_encoder").CLIPImageProcessor = CLIPImageProcessorPil
    with open(os.path.join(CHECKOUT, "llava", "train", "train.py"), encoding="utf-8") as f:
        tree = ast.parse(f.read())
    tree.body = [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name in ("preprocess_multimodal", "preprocess_v1")]
    scope = dict(vars(code.constants), conversation_lib=code.talk, tokenizer_image_token=code.utils.tokenizer_image_token,
                 torch=torch, Dict=Dict, Sequence=Sequence, IS_TOKENIZER_GREATER_THAN_0_14=True)
    exec(compile(tree, "train.py", "exec", __future__.annotations.compiler_flag), scope)
    code.preprocess_multimodal, code.preprocess_v1 = scope["preprocess_multimodal"], scope["preprocess_v1"]
    return code


class SlowLlama(SentencePieceBackend):
    """LlamaTokenizer of transformers 4: unless `legacy`, the dummy prefix stands before the whole text only."""

    def tokenize(self, text, **kwargs):
        if self.legacy or len(text) == 0:
            return super().tokenize(text, **kwargs)
        tokens = super().tokenize("\u2581" + text.replace("\u2581", " "), **kwargs)
        return tokens[1:] if len(tokens) > 1 and tokens[0] == "\u2581" and tokens[1] in self.all_special_tokens else tokens

    def __call__(self, text):
        return types.SimpleNamespace(input_ids=[self.bos_token_id] + self.convert_tokens_to_ids(self.tokenize(text)))


# ---------------------------------------------------------------- checkpoints


def put(folder, name, value):
    with open(os.path.join(folder, name), "w", encoding="utf-8") as f:
        json.dump(value, f, indent=2)
        f.write("\n")


def randomise(model, seed):
    """Every parameter changes the output: no zero biases, no unit norms."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            noise = torch.randn(parameter.shape, generator=generator)
            if "norm" in name and name.endswith("weight"):
                value = 1 + 0.2 * noise
            elif parameter.ndim == 0:
                value = 2.5 + 0.1 * noise
            elif name.endswith("class_embedding") or "embedding" in name or "embed_tokens" in name:
                value = 0.4 * noise
            elif parameter.ndim == 1:
                value = 0.1 * noise
            else:
                value = noise / math.sqrt(parameter[0].numel())
            parameter.copy_(value)


def write_tower(folder, seed):
    """The whole CLIP as OpenAI's repository has it: float32, one pytorch_model.bin, text tower and position ids included."""
    os.makedirs(folder)
    vision = {"hidden_size": 40, "image_size": 56, "intermediate_size": 80, "num_attention_heads": 5, "num_hidden_layers": 4,
              "patch_size": 14, "projection_dim": 32}
    text = {"hidden_size": 24, "intermediate_size": 48, "num_attention_heads": 3, "num_hidden_layers": 1, "projection_dim": 32,
            "vocab_size": 64, "max_position_embeddings": 16}
    put(folder, "config.json", {
        "_name_or_path": "clip-vit-large-patch14-336/", "architectures": ["CLIPModel"], "initializer_factor": 1.0,
        "logit_scale_init_value": 2.6592, "model_type": "clip", "projection_dim": 32, "torch_dtype": "float32",
        "text_config": {**text, "model_type": "clip_text_model", "hidden_act": "quick_gelu", "layer_norm_eps": 1e-05},
        "vision_config": {**vision, "model_type": "clip_vision_model", "hidden_act": "quick_gelu", "layer_norm_eps": 1e-05}})
    put(folder, "preprocessor_config.json", {
        "crop_size": 56, "do_center_crop": True, "do_normalize": True, "do_resize": True,
        "feature_extractor_type": "CLIPFeatureExtractor", "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.26862954, 0.26130258, 0.27577711], "resample": 3, "size": 56})
    clip = CLIPModel(CLIPConfig.from_pretrained(folder)).float()
    randomise(clip, seed)
    state = {name: tensor.clone() for name, tensor in clip.state_dict().items()}
    for tower, rows in (("vision_model", 17), ("text_model", 16)):
        state[f"{tower}.embeddings.position_ids"] = torch.arange(rows)[None]
    torch.save(state, os.path.join(folder, "pytorch_model.bin"))
    return state


def write_tokenizer(folder, source, legacy):
    shutil.copyfile(os.path.join(CASES, source, "checkpoint", "tokenizer.model"), os.path.join(folder, "tokenizer.model"))

    def special(content, **kind):
        return {**kind, "content": content, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False}

    named = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    put(folder, "tokenizer_config.json", {
        "add_bos_token": True, "add_eos_token": False, "clean_up_tokenization_spaces": False, "legacy": legacy,
        "model_max_length": 2048, "pad_token": None, "padding_side": "right", "sp_model_kwargs": {},
        "tokenizer_class": "LlamaTokenizer", **{key: special(token, __type="AddedToken") for key, token in named.items()}})
    put(folder, "special_tokens_map.json", {**{key: special(token) for key, token in named.items()}, "pad_token": "<unk>"})
    tokenizer = SlowLlama(vocab_file=os.path.join(folder, "tokenizer.model"), legacy=legacy, pad_token="<unk>", **named)
    tokenizer.model_max_length = 2048
    return tokenizer


MULTIMODAL = {
    "freeze_mm_mlp_adapter": False, "image_aspect_ratio": "pad", "mm_hidden_size": 40, "mm_projector_type": "mlp2x_gelu",
    "mm_use_im_patch_token": False, "mm_use_im_start_end": False, "mm_vision_select_feature": "patch",
    "mm_vision_select_layer": -2, "mm_vision_tower": TOWER, "tune_mm_mlp_adapter": False, "use_mm_proj": True,
    "bos_token_id": 1, "eos_token_id": 2, "hidden_act": "silu", "initializer_range": 0.02, "rms_norm_eps": 1e-05,
    "num_hidden_layers": 3, "tie_word_embeddings": False, "torch_dtype": "float16", "use_cache": True}
LLAMA = {
    **MULTIMODAL, "_name_or_path": "llava-v1.5-7b", "architectures": ["LlavaLlamaForCausalLM"], "model_type": "llava",
    "freeze_mm_vision_resampler": False, "mm_resampler_type": None, "tune_mm_vision_resampler": False,
    "unfreeze_mm_vision_tower": False, "hidden_size": 48, "intermediate_size": 112, "max_length": 4096,
    "max_position_embeddings": 4096, "num_attention_heads": 4, "num_key_value_heads": 4, "pad_token_id": 0,
    "pretraining_tp": 1, "rope_scaling": None, "vocab_size": 440, "transformers_version": "4.31.0"}
MISTRAL = {
    **MULTIMODAL, "_name_or_path": "mistralai/Mistral-7B-v0.1", "architectures": ["LlavaMistralForCausalLM"],
    "model_type": "llava_mistral", "hidden_size": 64, "intermediate_size": 128, "max_position_embeddings": 32768,
    "num_attention_heads": 8, "num_key_value_heads": 2, "rope_theta": 10000.0, "sliding_window": 40, "vocab_size": 460,
    "transformers_version": "4.34.1"}


def write_language_model(folder, model, head_dim):
    """Two shards of half precision with their index; the rotary tables of transformers before 4.32 are still stored."""
    state = {name: tensor.half().clone() for name, tensor in model.state_dict().items() if "vision_tower" not in name}
    table = 1.0 / 10000.0 ** (torch.arange(0, head_dim, 2).float() / head_dim)
    for idx in range(model.config.num_hidden_layers):
        state[f"model.layers.{idx}.self_attn.rotary_emb.inv_freq"] = table.half()
    names = sorted(state)
    shards = {f"pytorch_model-0000{i + 1}-of-00002.bin": names[i::2] for i in range(2)}
    for file, part in shards.items():
        torch.save({name: state[name] for name in part}, os.path.join(folder, file))
    put(folder, "pytorch_model.bin.index.json", {
        "metadata": {"total_size": sum(t.numel() * t.element_size() for t in state.values())},
        "weight_map": {name: file for file, part in shards.items() for name in part}})


def make_model(cls, config, tower, seed):
    model = cls(config).float()
    randomise(model, seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.half().float())
    vision = model.get_vision_tower()
    vision.load_model()
    found = {k.removeprefix("vision_model."): v for k, v in vision.vision_tower.state_dict().items()}
    for name, value in found.items():
        assert torch.equal(value, tower["vision_model." + name]), name
    return model.float().eval()


# ---------------------------------------------------------------- cases


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


def spread(value):
    value = value.detach().float()
    return float(value.std() if value.numel() > 1 else value.abs())


class Case:
    def __init__(self, name, **meta):
        self.folder = os.path.join(CASES, name)
        shutil.rmtree(self.folder, ignore_errors=True)
        for part in ("checkpoint", "media"):
            os.makedirs(os.path.join(self.folder, part))
        self.meta, self.tensors, self.checks = {"format": 1, **meta}, {}, []

    def pictures(self, sizes):
        self.paths = [f"media/{'abc'[i]}.png" for i in range(len(sizes))]
        for i, (path, size) in enumerate(zip(self.paths, sizes)):
            picture(os.path.join(self.folder, path), 40 + i, *size)
        return [Image.open(os.path.join(self.folder, path)).convert("RGB") for path in self.paths]

    def expect(self, name, value, atol=0.0, rtol=0.0):
        self.tensors[name] = value.detach().contiguous().clone()
        exact = not value.dtype.is_floating_point
        self.checks.append({"tensor": name, "exact": True} if exact else
                           {"tensor": name, "atol": float(f"{atol:.3g}"), "rtol": rtol})

    def write(self):
        save_file(self.tensors, os.path.join(self.folder, "expected.safetensors"))
        put(self.folder, "case.json", {**self.meta, "checks": self.checks})


def expand(ids, num_patches):
    """The ids with each picture's -200 as often as it has features; the authors only ever hold the embeddings."""
    return torch.tensor([i for value in ids.tolist() for i in [value] * (num_patches if value == -200 else 1)])


def greedy(model, ids, pixels):
    """The continuation, every step a full pass of the authors' forward; None where a step is close to a tie."""
    new = []
    with torch.no_grad():
        for _ in range(NEW_TOKENS):
            whole = torch.cat([ids, torch.tensor(new, dtype=torch.long)])[None]
            logits = model(input_ids=whole, images=pixels, **PLAIN).logits[0]
            top = logits[-1].topk(2).values
            if float(top[0] - top[1]) < 20 * (1e-3 * spread(logits) + 1e-4 * float(top[0].abs())):
                return None
            new.append(int(logits[-1].argmax()))
    return None if 2 in new or len(set(new)) < 4 else torch.tensor(new)


PLAIN = {"output_attentions": False, "output_hidden_states": False, "return_dict": True, "use_cache": False}


def conversation(code, turns):
    """The prompt that the authors' vicuna_v1 makes of [(role, text)], open for an answer after a question."""
    talk = code.talk.conv_templates["vicuna_v1"].copy()
    for i, text in enumerate(turns):
        talk.append_message(talk.roles[i % 2], text)
    if len(turns) % 2:
        talk.append_message(talk.roles[1], None)
    return talk.get_prompt()


def chat(turns, paths):
    """`turns` as messages: "<image>\n" in front becomes an image part."""
    left = iter(paths)
    messages = []
    for i, text in enumerate(turns):
        content = []
        while text.startswith("<image>\n"):
            content.append({"type": "image", "path": next(left)})
            text = text.removeprefix("<image>\n")
        messages.append({"role": ("user", "assistant")[i % 2], "content": [*content, {"type": "text", "text": text}]})
    return messages


def build(code, name, system, variant, settings, module, cls, source, legacy, tower_at, sizes, seed, prompt=None, turns=None,
          train=False):
    case = Case(name, system=system, variant=variant, reference=(
        f"{cls}, process_images, tokenizer_image_token, vicuna_v1{', preprocess_v1' if train else ''} of "
        f"{REPOSITORIES[system]}, run with transformers {transformers.__version__} (torch {torch.__version__.split('+')[0]}, CPU, "
        "float32, eager attention); CLIPImageProcessorPil; slow LlamaTokenizer re-expressed on SentencePieceBackend"),
        task="train" if train else "generate")
    checkpoint = os.path.join(case.folder, "checkpoint")
    put(checkpoint, "config.json", dict(sorted(settings.items())))
    put(checkpoint, "generation_config.json", {"_from_model_config": True, "bos_token_id": 1, "eos_token_id": 2,
                                               "transformers_version": settings["transformers_version"]})
    tokenizer = write_tokenizer(checkpoint, source, legacy)
    tower_folder = os.path.join(case.folder, tower_at)
    tower = write_tower(tower_folder, seed)
    images = case.pictures(sizes)

    if train:
        case.meta["inputs"] = {"messages": chat(turns, case.paths)}
        sentences = [{"from": ("human", "gpt")[i % 2], "value": text} for i, text in enumerate(turns)]
        arguments = types.SimpleNamespace(is_multimodal=True, mm_use_im_start_end=False)
        data = code.preprocess_v1(code.preprocess_multimodal([copy.deepcopy(sentences)], arguments), tokenizer, has_image=True)
        ids, labels = data["input_ids"][0], data["labels"][0]
        assert (labels >= 0).any(), "the authors' count of the rounds failed"
    elif turns:
        case.meta["inputs"] = {"messages": chat(turns, case.paths)}
        case.meta["rendered_prompt"] = conversation(code, turns)
        ids = code.utils.tokenizer_image_token(case.meta["rendered_prompt"], tokenizer, return_tensors="pt")
    else:
        text = conversation(code, [prompt])
        case.meta["inputs"] = {"prompt": text, "images": case.paths}
        ids = code.utils.tokenizer_image_token(text, tokenizer, return_tensors="pt")
    if not train:
        case.meta["generate"] = {"max_new_tokens": NEW_TOKENS, "do_sample": False, "num_beams": 1}

    module = importlib.import_module("llava.model.language_model." + module)
    back = os.getcwd()
    with tempfile.TemporaryDirectory() as place:
        os.makedirs(os.path.join(place, os.path.dirname(TOWER)))
        os.symlink(tower_folder, os.path.join(place, TOWER))
        os.chdir(place)  # where the hub's name of the tower is a folder
        config = module.LlavaConfig.from_pretrained(checkpoint)
        config._attn_implementation = "eager"
        for attempt in range(400):
            model = make_model(getattr(module, cls), config, tower, seed + attempt)
            vision = model.get_vision_tower()
            pixels = code.utils.process_images(images, vision.image_processor, config)
            new = None if train else greedy(model, ids, pixels)
            if train or new is not None:
                break
        else:
            raise RuntimeError(f"{name}: every continuation hangs on a near tie")
        os.chdir(back)
    write_language_model(checkpoint, model, settings["hidden_size"] // settings["num_attention_heads"])

    case.expect("input_ids", expand(ids, vision.num_patches))
    case.expect("pixel_values", pixels, 2e-6, 2e-6)
    features = model.encode_images(pixels).flatten(0, 1)
    if not train:
        case.expect("image_features", features, 1e-4 * spread(features) + 1e-7, 1e-4)
    out = model(input_ids=ids[None], images=pixels, labels=labels[None] if train else None, **PLAIN)
    case.expect("logits", out.logits[0], 1e-4 * spread(out.logits) + 1e-7, 1e-5)
    if train:
        merged = model.prepare_inputs_labels_for_multimodal(ids[None], None, None, None, labels[None], pixels)
        case.expect("labels", merged[-1][0])
        case.expect("loss", out.loss, 2e-5, 2e-5)
        out.loss.backward()
        parameters = dict(model.named_parameters())
        for key in ("model.embed_tokens.weight", "lm_head.weight", "model.norm.weight", "model.layers.0.self_attn.q_proj.weight",
                    "model.layers.1.mlp.down_proj.weight", "model.mm_projector.0.weight", "model.mm_projector.2.bias"):
            grad = parameters[key].grad
            case.expect("grad/" + key, grad, 1e-3 * spread(grad) + 1e-8, 1e-3)
    else:
        case.expect("generated_ids", new)
    case.write()
    print(name, "attempt", attempt + 1, "ids", ids.tolist(), "new", None if train else new.tolist(), flush=True)


REPOSITORIES = {"llava-1.5": "haotian-liu/LLaVA@c121f04", "bakllava": "SkunkworksAI/BakLLaVA@0ca9641"}
LLAVA = dict(system="llava-1.5", settings=LLAMA, module="llava_llama", cls="LlavaLlamaForCausalLM", source="llava-1.5-a",
             legacy=False, tower_at=os.path.basename(TOWER))
BAKLLAVA = dict(system="bakllava", settings=MISTRAL, module="llava_mistral", cls="LlavaMistralForCausalLM", source="bakllava-a",
                legacy=True, tower_at=os.path.join("checkpoint", TOWER))
VARIANTS = {
    "llava-1.5-authors-a": dict(
        LLAVA, seed=100, variant="authors' layout: raw vicuna_v1 prompt, two pictures padded to squares, tower published apart",
        prompt="<image>\nHow does this picture differ from <image>?", sizes=[(83, 61), (40, 71)]),
    "llava-1.5-authors-train-a": dict(
        LLAVA, seed=300, variant="authors' layout: a chat of two rounds, loss on the answers", train=True, sizes=[(58, 75)],
        turns=["<image>\nName the shapes.", "Circles and boxes.", "How many are there?", "Six of them."]),
    "bakllava-authors-a": dict(
        BAKLLAVA, seed=500, variant="authors' layout: chat of two rounds, sliding window shorter than the prompt", sizes=[(97, 64)],
        turns=["<image>\nWhich model is drawn here?", "A language model.", "How does it see?"]),
}

if __name__ == "__main__":
    modules = authors()
    for wanted in WANTED:
        build(modules, wanted, **VARIANTS[wanted])
