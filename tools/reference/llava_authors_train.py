"""Writes the train cases of LLaVA's relatives in their authors' layouts, computed by the authors' own modules.

Needs what llava_authors.py needs, and checkouts of haotian-liu/LLaVA (c121f04), LLaVA-VL/LLaVA-NeXT (df17966) and
qnguyen3/hermes-llava (2765a0e):

    python3 tools/reference/llava_authors_train.py tests/cases LLAVA_CHECKOUT llava-v0-train-a llava-v1-train-a \
        llava-llama-2-train-a llava-1.6-authors-train-a
    python3 tools/reference/llava_authors_train.py tests/cases HERMES_CHECKOUT nous-hermes-2-vision-train-a
    python3 tools/reference/llava_authors_train.py tests/cases LLAVA_CHECKOUT:HERMES_CHECKOUT llava-mpt-train-a
    python3 tools/reference/llava_authors_train.py tests/cases LLAVA_NEXT_CHECKOUT llava-onevision-authors-train-a

Checkpoint, tower and tokenizer are those of the case named `source` below, whose prompt and logits are computed again first:
they must come out as they are there. Of train.py (behind the colon: of another checkout) come preprocess_multimodal and the
preprocess_* that masks the labels; preprocess_mpt is LLaVA's of 2023, because today's counts a chat's rounds wrongly.
"""

import __future__

import ast
import copy
import glob
import importlib
import importlib.util
import inspect
import json
import os
import re
import shutil
import sys
import tempfile
import types
from typing import Dict, List, Sequence

spec = importlib.util.spec_from_file_location("llava_authors", os.path.join(os.path.dirname(os.path.abspath(__file__)), "llava_authors.py"))
shared = importlib.util.module_from_spec(spec)
spec.loader.exec_module(shared)

import torch
import transformers
from PIL import Image
from safetensors.torch import load_file
from transformers import PreTrainedTokenizerFast

CASES, WANTED = shared.CASES, shared.WANTED
CHECKOUT, *TRAIN = map(os.path.abspath, sys.argv[2].split(":"))
STORED_TOWER = "model.vision_tower.vision_tower."
PREPROCESS = ("preprocess_multimodal", "preprocess", "preprocess_v1", "preprocess_llama_2", "preprocess_mpt", "preprocess_qwen",
              "_add_speaker_and_signal", "_mask_targets")


def stub(name, **names):
    sys.modules[name] = types.ModuleType(name)
    vars(sys.modules[name]).update(names)


def load_siglip():
    """LLaVA-NeXT's SigLIP at other sizes than its own: it insists on 729 tokens, and takes towers found on disk for CLIP."""
    name = "llava.model.multimodal_encoder.siglip_encoder"
    path = os.path.join(CHECKOUT, *name.split(".")) + ".py"
    with open(path, encoding="utf-8") as f:
        source = f.read().replace("== 729", "== self.num_patches")
    stub(name, __file__=path)
    exec(compile(source, path, "exec"), vars(sys.modules[name]))
    sys.modules[name].SigLipVisionConfig._set_token_in_kwargs = staticmethod(lambda kwargs: None)  # of transformers 4
    builder = importlib.import_module("llava.model.multimodal_encoder.builder")
    builder.os = types.SimpleNamespace(path=types.SimpleNamespace(exists=lambda path: False))


def fit_siglip(tower):
    tower.config = tower.vision_tower.config
    side = tower.config.image_size
    embeddings = tower.vision_tower.vision_model.embeddings
    embeddings.position_ids = torch.arange(embeddings.num_positions)[None]  # transformers 5 leaves unsaved buffers unset
    tower.image_processor = type(tower.image_processor)(size=(side, side), crop_size={"height": side, "width": side})


def authors():
    """The modules needed, without what the packages import for training, serving and other towers."""
    for name in ("llava", "llava.model", "llava.model.language_model", "llava.model.multimodal_encoder", "llava.model.multimodal_resampler"):
        package = types.ModuleType(name)
        package.__path__ = [os.path.join(CHECKOUT, *name.split("."))]
        sys.modules[name] = package
    stub("llava.utils", rank0_print=lambda *words: None, rank_print=lambda *words: None)
    for encoder, wanted in (("imagebind", ["ImageBindWrapper"]), ("open_clip_encoder", ["OpenCLIPVisionTower"]),
                            ("hf_vision", ["HFVisionTower"]), ("mlcd_encoder", ["MLCDVisionTower", "MLCDVisionTowerS2"])):
        stub("llava.model.multimodal_encoder." + encoder, **{name: None for name in wanted})
    stub("llava.model.multimodal_resampler.builder", build_vision_resampler=lambda *_, **__: torch.nn.Identity())
    load = importlib.import_module
    code = types.SimpleNamespace(utils=load("llava.mm_utils"), talk=load("llava.conversation"), constants=load("llava.constants"))
    if os.path.exists(os.path.join(CHECKOUT, "llava", "model", "multimodal_encoder", "siglip_encoder.py")):
        load_siglip()
    clip = load("llava.model.multimodal_encoder.clip_encoder")
    clip.CLIPImageProcessor = transformers.CLIPImageProcessorPil
    with open(os.path.join((TRAIN or [CHECKOUT])[0], "llava", "train", "train.py"), encoding="utf-8") as f:
        tree = ast.parse(f.read())
    tree.body = [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name in PREPROCESS]
    scope = dict(vars(code.constants), conversation_lib=code.talk, tokenizer_image_token=code.utils.tokenizer_image_token,
                 torch=torch, copy=copy, re=re, transformers=transformers, Dict=Dict, List=List, Sequence=Sequence,
                 IS_TOKENIZER_GREATER_THAN_0_14=True)
    exec(compile(tree, "train.py", "exec", __future__.annotations.compiler_flag), scope)
    code.train = scope
    return code


class FastTokenizer(PreTrainedTokenizerFast):
    """tokenizer.json, with the two things of transformers 4 that preprocess_qwen asks for."""

    @property
    def additional_special_tokens_ids(self):
        return self.convert_tokens_to_ids(["<|im_start|>", "<|im_end|>"])

    def apply_chat_template(self, messages):
        text = "".join(f"<|im_start|>{m['role']}\n{m['content']}<|im_end|>\n" for m in messages)
        return self(text).input_ids


def read_json(folder, name):
    with open(os.path.join(folder, name), encoding="utf-8") as f:
        return json.load(f)


def open_tokenizer(folder):
    config = read_json(folder, "tokenizer_config.json")
    if os.path.exists(os.path.join(folder, "tokenizer.json")):
        return FastTokenizer(tokenizer_file=os.path.join(folder, "tokenizer.json"), eos_token=config["eos_token"],
                             pad_token=config["pad_token"], model_max_length=2048, clean_up_tokenization_spaces=False)
    tokenizer = shared.SlowLlama(vocab_file=os.path.join(folder, "tokenizer.model"), legacy=config["legacy"], bos_token="<s>",
                                 eos_token="</s>", unk_token="<unk>", pad_token="<unk>")
    tokenizer.model_max_length = 2048
    if os.path.exists(os.path.join(folder, "added_tokens.json")):
        added = read_json(folder, "added_tokens.json")
        tokenizer.add_tokens(sorted(added, key=added.get), special_tokens=True)
        assert tokenizer.convert_tokens_to_ids(list(added)) == list(added.values())
    return tokenizer


def read_state(folder):
    state = {}
    for file in sorted(glob.glob(os.path.join(folder, "*.safetensors"))):
        state.update(load_file(file))
    for file in sorted(glob.glob(os.path.join(folder, "*.bin"))):
        state.update(torch.load(file))
    return {name: value.float() for name, value in state.items()}


def open_model(code, variant, folder):
    """The authors' class with the case's weights; the working folder is where the tower's hub name is a folder."""
    module = importlib.import_module("llava.model.language_model." + variant["module"])
    config_class = next(value for name, value in vars(module).items() if re.fullmatch("Llava(Mpt|Mistral|Qwen)?Config", name))
    checkpoint = os.path.join(folder, "checkpoint")
    if variant["module"] == "llava_qwen":  # sets rope_scaling to None, which with transformers 5 forgets rope_theta too
        config_class.rope_scaling = property(lambda self: None, lambda self, value: None)
    config = config_class.from_pretrained(checkpoint)
    config._attn_implementation = "eager"
    model = getattr(module, variant["cls"])(config).float()
    model.get_vision_tower().load_model()
    model = model.float()
    if variant["module"] == "llava_qwen":
        fit_siglip(model.get_vision_tower())
    missing, unexpected = model.load_state_dict(read_state(checkpoint), strict=False)
    assert not [name for name in unexpected if "inv_freq" not in name and "vision_tower" not in name], unexpected
    assert not [name for name in missing if "vision_tower" not in name and name != "lm_head.weight"], missing
    return model.eval().requires_grad_(True)


def run(variant, model, ids, pixels, sizes, labels=None):
    """(logits, loss, labels of the joined sequence), by the steps of the authors' forward."""
    extra = {"image_sizes": sizes} if variant.get("tiled") else {}
    if variant["module"] == "llava_qwen":
        extra["modalities"] = ["image"] * len(sizes)
    given = dict(input_ids=ids[None], attention_mask=None, past_key_values=None, labels=None if labels is None else labels[None],
                 images=pixels, **extra)
    if "position_ids" in inspect.signature(model.prepare_inputs_labels_for_multimodal).parameters:
        given["position_ids"] = None
    *_, embeds, labels = model.prepare_inputs_labels_for_multimodal(**given)
    out = super(type(model), model).forward(inputs_embeds=embeds, labels=labels, **shared.PLAIN)
    return out.logits[0], out.loss, None if labels is None else labels[0]


def joined(ids, total):
    """The ids with the one picture's -200 as often as it has features."""
    return torch.tensor([i for value in ids.tolist() for i in [value] * (total - len(ids) + 1 if value == -200 else 1)])


def check_source(code, variant, model, tokenizer, folder):
    """The source's own prompt gives its ids and logits again."""
    meta, expected = read_json(folder, "case.json"), load_file(os.path.join(folder, "expected.safetensors"))
    paths = [part["path"] for message in meta["inputs"]["messages"] for part in message["content"] if part["type"] == "image"]
    images = [Image.open(os.path.join(folder, path)).convert("RGB") for path in paths]
    pixels = code.utils.process_images(images, model.get_vision_tower().image_processor, model.config)
    text = meta["rendered_prompt"]
    ids = code.utils.tokenizer_image_token(text, tokenizer, return_tensors="pt")
    with torch.no_grad():
        logits, _, _ = run(variant, model, ids, pixels, [image.size for image in images])
    assert logits.shape == expected["logits"].shape, (logits.shape, expected["logits"].shape)
    error = float((logits - expected["logits"]).abs().max())
    assert error < 1e-4, error
    return expected["pixel_values"].ndim


def pixel_rows(pixels, axes):
    pixels = torch.cat(list(pixels)) if isinstance(pixels, list) else pixels
    while pixels.ndim > axes:
        pixels = pixels.flatten(0, 1)
    return pixels


def write(code, name, variant):
    source = os.path.join(CASES, variant["source"])
    preprocess = variant["preprocess"]
    case = shared.Case(name, system=variant["system"], variant=variant["variant"], reference=(
        f"{variant['cls']}, process_images, tokenizer_image_token, {preprocess} ({variant['version']}) of {variant['repository']}, "
        f"run with transformers {transformers.__version__} (torch {torch.__version__.split('+')[0]}, CPU, float32, eager attention); "
        f"Pillow image processor; weights and tokenizer of {variant['source']}"), task="train")
    for part in os.listdir(source):
        if os.path.isdir(os.path.join(source, part)) and part != "media":
            shutil.copytree(os.path.join(source, part), os.path.join(case.folder, part), dirs_exist_ok=True)
    images = case.pictures([variant["size"]])
    tokenizer = open_tokenizer(os.path.join(case.folder, "checkpoint"))
    tower = read_json(os.path.join(case.folder, "checkpoint"), "config.json")["mm_vision_tower"]
    place = next(os.path.join(at, os.path.basename(tower)) for at in (case.folder, os.path.join(case.folder, "checkpoint", os.path.dirname(tower)))
                 if os.path.isdir(os.path.join(at, os.path.basename(tower))))

    back = os.getcwd()
    with tempfile.TemporaryDirectory() as hub:
        shutil.copytree(place, os.path.join(hub, tower))
        stored = {key.removeprefix(STORED_TOWER): value for key, value in read_state(os.path.join(case.folder, "checkpoint")).items()
                  if key.startswith(STORED_TOWER)}
        if stored:  # the class reads the tower before the checkpoint's own takes its place
            torch.save(stored, os.path.join(hub, tower, "pytorch_model.bin"))
        os.chdir(hub)
        model = open_model(code, variant, case.folder)
        os.chdir(back)
    axes = check_source(code, variant, model, tokenizer, source)
    pixels = code.utils.process_images(images, model.get_vision_tower().image_processor, model.config)

    turns = variant["turns"]
    code.talk.default_conversation = code.talk.conv_templates[variant["version"]]
    sentences = [{"from": ("human", "gpt")[i % 2], "value": text} for i, text in enumerate(turns)]
    arguments = types.SimpleNamespace(is_multimodal=True, mm_use_im_start_end=getattr(model.config, "mm_use_im_start_end", False))
    given = {"has_image": True} if "has_image" in inspect.signature(code.train[preprocess]).parameters else {}
    data = code.train[preprocess](code.train["preprocess_multimodal"]([copy.deepcopy(sentences)], arguments), tokenizer, **given)
    ids, labels = data["input_ids"][0], data["labels"][0]
    assert (labels >= 0).any(), "the authors' count of the rounds failed"
    if variant.get("raw"):  # prompts that the files do not tell
        talk = code.talk.default_conversation.copy()
        mark = "<im_start><image><im_end>" if arguments.mm_use_im_start_end else "<image>"
        talk.append_message(talk.roles[0], turns[0].replace("<image>", mark))
        talk.append_message(talk.roles[1], turns[1])
        whole = talk.get_prompt()
        cut = whole.index(" " + turns[1])
        case.meta["inputs"] = {"prompt": whole[:cut], "images": case.paths, "target": whole[cut:]}
        assert code.utils.tokenizer_image_token(whole, tokenizer) == ids.tolist()
    else:
        case.meta["inputs"] = {"messages": shared.chat(turns, case.paths)}

    logits, loss, merged = run(variant, model, ids, pixels, [image.size for image in images], labels)
    case.expect("input_ids", joined(ids, len(logits)))
    case.expect("pixel_values", pixel_rows(pixels, axes), 2e-6, 2e-6)
    case.expect("logits", logits, 1e-4 * shared.spread(logits) + 1e-7, 1e-5)
    case.expect("labels", merged)
    case.expect("loss", loss, 2e-5, 2e-5)
    loss.backward()
    parameters = dict(model.named_parameters())
    for key in variant["grads"]:
        grad = parameters[key].grad
        case.expect("grad/" + key, grad, 1e-3 * shared.spread(grad) + 1e-8, 1e-3)
    case.write()
    print(name, "loss", float(loss.detach()), "labels", labels.tolist(), flush=True)


LLAMA_GRADS = ["model.embed_tokens.weight", "lm_head.weight", "model.norm.weight", "model.layers.0.self_attn.q_proj.weight",
               "model.layers.1.mlp.down_proj.weight"]
LINEAR_GRADS = LLAMA_GRADS + ["model.mm_projector.weight", "model.mm_projector.bias"]
MLP_GRADS = LLAMA_GRADS + ["model.mm_projector.0.weight", "model.mm_projector.2.bias"]
LLAVA, HERMES, NEXT = "haotian-liu/LLaVA@c121f04", "qnguyen3/hermes-llava@2765a0e", "LLaVA-VL/LLaVA-NeXT@df17966"
TURNS = ["<image>\nName the shapes.", "Circles and boxes.", "How many are there?", "Six of them."]
FIRST = dict(system="llava", source="llava-v0-a", module="llava_llama", cls="LlavaLlamaForCausalLM", repository=LLAVA,
             grads=LINEAR_GRADS, turns=TURNS, size=(58, 75))
VARIANTS = {
    "llava-v0-train-a": dict(
        FIRST, version="v0", preprocess="preprocess",
        variant="authors' layout: conversation v0 as training writes it, what its count of the turns masks"),
    "llava-v1-train-a": dict(
        FIRST, version="v1", preprocess="preprocess_v1", raw=True, turns=TURNS[:2],
        variant="authors' layout: conversation v1 on a marked picture, loss on the answer"),
    "llava-llama-2-train-a": dict(
        FIRST, version="llava_llama_2", preprocess="preprocess_llama_2", raw=True, turns=TURNS[:2],
        variant="authors' layout: conversation llava_llama_2, loss on the answer"),
    "llava-mpt-train-a": dict(
        FIRST, version="mpt", preprocess="preprocess_mpt", source="llava-mpt-a", module="llava_mpt", cls="LlavaMptForCausalLM",
        repository=LLAVA + " (preprocess_mpt of " + HERMES + ")", variant="authors' layout: MPT, chat of two rounds, loss on the answers",
        grads=["transformer.wte.weight", "transformer.norm_f.weight", "transformer.blocks.0.attn.Wqkv.weight",
               "transformer.blocks.1.ffn.down_proj.weight", "transformer.mm_projector.weight", "transformer.mm_projector.bias"]),
    "llava-1.6-authors-train-a": dict(
        FIRST, system="llava-1.6", source="llava-1.6-authors-a", version="v1", preprocess="preprocess_v1", tiled=True, raw=True,
        turns=TURNS[:2], size=(97, 64), grads=MLP_GRADS + ["model.image_newline"],
        variant="authors' layout: one picture of several tiles, loss on the answer"),
    "nous-hermes-2-vision-train-a": dict(
        FIRST, system="nous-hermes-2-vision", source="nous-hermes-2-vision-a", version="v1", preprocess="preprocess_v1",
        module="llava_mistral", cls="LlavaMistralForCausalLM", repository=HERMES, grads=MLP_GRADS,
        variant="SigLIP in the CLIP class, a chat of two rounds, loss on the answers"),
    "llava-onevision-authors-train-a": dict(
        FIRST, system="llava-onevision", source="llava-onevision-authors-a", version="qwen_1_5", preprocess="preprocess_qwen",
        module="llava_qwen", cls="LlavaQwenForCausalLM", repository=NEXT, tiled=True, size=(100, 61),
        grads=MLP_GRADS + ["model.image_newline", "model.layers.0.self_attn.k_proj.bias"],
        variant="authors' layout: one picture of several tiles, a chat of two rounds, what preprocess_qwen counts"),
}

if __name__ == "__main__":
    modules = authors()
    for wanted in WANTED:
        write(modules, wanted, VARIANTS[wanted])
