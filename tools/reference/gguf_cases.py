"""Writes cases in GGUF files: checkpoints of other cases, converted by the rules of llama.cpp's convert_hf_to_gguf.py and, for
LLaVA's tower, of its tools/mtmd/legacy-models/convert_image_encoder_to_gguf.py, written by the published format (version 3).

    python3 tools/reference/gguf_cases.py tests/cases CASE...

Needs Python with numpy, torch, safetensors, sentencepiece's protobuf and, for block-llama-gguf-a, transformers. What is expected is
what the other case expects; block-llama-gguf-a (grouped queries, Llama 3's stretched rotary frequencies) has no sibling and is
computed by transformers' LlamaForCausalLM.
"""

import glob
import json
import math
import os
import shutil
import struct
import sys

sys.path[:] = [p for p in sys.path if os.path.abspath(p or ".") != os.path.dirname(os.path.abspath(__file__))]

import numpy as np
import torch
from safetensors.torch import load_file, save_file

CASES, WANTED = os.path.abspath(sys.argv[1]), sys.argv[2:]
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)


# ---------------------------------------------------------------- the file format


def text_bytes(text):
    data = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(data)) + data


def typed(value):
    """A metadata value with the type that llama.cpp's writer gives it."""
    if isinstance(value, bool):
        return 7, struct.pack("<?", value)
    if isinstance(value, int):
        return 4, struct.pack("<I", value)
    if isinstance(value, float):
        return 6, struct.pack("<f", value)
    if isinstance(value, str):
        return 8, text_bytes(value)
    kind = {bool: 7, int: 5, float: 6, str: 8, bytes: 8}[type(value[0])]
    parts = [text_bytes(v) if kind == 8 else struct.pack({7: "<?", 5: "<i", 6: "<f"}[kind], v) for v in value]
    return 9, struct.pack("<IQ", kind, len(value)) + b"".join(parts)


def write_gguf(path, metadata, tensors):
    """`tensors`: by name, float32 or float16, in the axes' order of PyTorch."""
    def padded(data):
        return data + b"\0" * (-len(data) % 32)

    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata))
    for key, value in metadata.items():
        kind, data = typed(value)
        head += text_bytes(key) + struct.pack("<I", kind) + data
    body = b""
    for name, value in tensors.items():
        array = np.ascontiguousarray(value.numpy())
        head += text_bytes(name) + struct.pack("<I", array.ndim) + struct.pack(f"<{array.ndim}Q", *reversed(array.shape))
        head += struct.pack("<IQ", {np.dtype("float32"): 0, np.dtype("float16"): 1}[array.dtype], len(body))
        body += padded(array.tobytes())
    with open(path, "wb") as f:
        f.write(padded(head) + body)


# ---------------------------------------------------------------- vocabularies


def read_json(folder, name):
    path = os.path.join(folder, name)
    if not os.path.exists(path):
        return {}
    with open(path, encoding="utf-8") as f:
        return json.load(f)


def sentencepiece_vocabulary(folder):
    from sentencepiece import sentencepiece_model_pb2

    model = sentencepiece_model_pb2.ModelProto()
    with open(os.path.join(folder, "tokenizer.model"), "rb") as f:
        model.ParseFromString(f.read())
    tokens = [(piece.piece, piece.score, piece.type) for piece in model.pieces]
    added = read_json(folder, "added_tokens.json")
    tokens += [(token, -1000.0, USER_DEFINED) for token in sorted(added, key=added.get)]
    return "llama", tokens, {"tokenizer.ggml.add_space_prefix": model.normalizer_spec.add_dummy_prefix}


def byte_level_vocabulary(folder, pre):
    file = read_json(folder, "tokenizer.json")
    ids = {id: (token, NORMAL) for token, id in file["model"]["vocab"].items()}
    ids.update({t["id"]: (t["content"], CONTROL if t["special"] else USER_DEFINED) for t in file["added_tokens"]})
    tokens = [(ids[i][0], None, ids[i][1]) for i in range(len(ids))]
    merges = [m if isinstance(m, str) else " ".join(m) for m in file["model"]["merges"]]
    return "gpt2", tokens, {"tokenizer.ggml.pre": pre, "tokenizer.ggml.merges": merges}


def vocabulary(folder, config, pre):
    kind, tokens, more = byte_level_vocabulary(folder, pre) if pre else sentencepiece_vocabulary(folder)
    for idx in range(len(tokens), config["vocab_size"]):
        tokens.append((f"[PAD{idx}]", -10000.0, UNUSED))
    settings = read_json(folder, "tokenizer_config.json")
    metadata = {"tokenizer.ggml.model": kind, "tokenizer.ggml.tokens": [t[0] for t in tokens]}
    if not pre:
        metadata["tokenizer.ggml.scores"] = [float(t[1]) for t in tokens]
    metadata["tokenizer.ggml.token_type"] = [int(t[2]) for t in tokens]
    metadata.update(more)
    for name in ("bos", "eos"):
        if config.get(f"{name}_token_id") is not None:
            metadata[f"tokenizer.ggml.{name}_token_id"] = config[f"{name}_token_id"]
        if f"add_{name}_token" in settings:
            metadata[f"tokenizer.ggml.add_{name}_token"] = settings[f"add_{name}_token"]
    return metadata


# ---------------------------------------------------------------- language models


def paired(rows, heads):
    """Rotary pairs side by side: (head pair half) <- (head half pair)."""
    return rows.reshape(heads, 2, rows.shape[0] // heads // 2, *rows.shape[1:]).transpose(1, 2).reshape(rows.shape)


def split_heads(rows, heads):
    """All of q, all of k, all of v <- q, k, v of each head."""
    return rows.reshape(heads, 3, rows.shape[0] // heads // 3, *rows.shape[1:]).transpose(0, 1).reshape(rows.shape)


LAYER = {"input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "self_attn.q_proj": "attn_q",
         "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate",
         "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down", "block_sparse_moe.gate": "ffn_gate_inp", "self_attn.dense": "attn_output",
         "mlp.fc1": "ffn_up", "mlp.fc2": "ffn_down", "attention.query_key_value": "attn_qkv", "attention.dense": "attn_output",
         "mlp.dense_h_to_4h": "ffn_up", "mlp.dense_4h_to_h": "ffn_down"}
TOP = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "model.final_layernorm": "output_norm", "lm_head": "output",
       "gpt_neox.embed_in": "token_embd", "gpt_neox.final_layer_norm": "output_norm", "embed_out": "output"}
ARCHITECTURE = {"llama": "llama", "mistral": "llama", "mixtral": "llama", "llava": "llama", "llava_llama": "llama", "qwen2": "qwen2",
                "gemma": "gemma", "phi": "phi2", "stablelm": "stablelm", "gpt_neox": "gptneox"}


def language_tensors(state, config, architecture):
    heads = config["num_attention_heads"]
    kv_heads = config.get("num_key_value_heads") or heads
    tensors, experts = {}, {}
    for name in sorted(state):
        if name.endswith((".masked_bias", ".attention.bias", ".inv_freq")):
            continue
        value, (stem, ending) = state[name], name.rsplit(".", 1)
        if stem in TOP:
            new = TOP[stem]
        else:
            _, layers, number, own = stem.split(".", 3)
            assert layers == "layers", name
            if ".experts." in own:  # one tensor of all experts, as since April 2024
                idx, matrix = own.split(".")[-2:]
                kind = {"w1": "ffn_gate_exps", "w2": "ffn_down_exps", "w3": "ffn_up_exps"}[matrix]
                experts.setdefault(f"blk.{number}.{kind}.weight", {})[int(idx)] = value
                continue
            new = f"blk.{number}.{LAYER[own]}"
            if architecture == "llama" and own.endswith(("q_proj", "k_proj")):
                value = paired(value, heads if own.endswith("q_proj") else kv_heads)
            if own == "attention.query_key_value":
                value = split_heads(value, heads)
        if architecture == "gemma" and new.endswith("norm"):
            value = value + 1
        tensors[f"{new}.{ending}"] = value
    for name, parts in experts.items():
        tensors[name] = torch.stack([parts[idx] for idx in range(len(parts))])
    # Matrices in half precision where the source has them so; the rest is float32 in every file.
    return {name: value if value.dtype == torch.float16 and value.ndim > 1 else value.float() for name, value in tensors.items()}


def language_metadata(config, architecture, name):
    heads, width = config["num_attention_heads"], config["hidden_size"]
    head_dim = config.get("head_dim") or width // heads
    keys = {"context_length": config["max_position_embeddings"], "embedding_length": width,
            "feed_forward_length": config["intermediate_size"], "block_count": config["num_hidden_layers"],
            "attention.head_count": heads, "attention.head_count_kv": config.get("num_key_value_heads") or heads}
    if "rms_norm_eps" in config:
        keys["attention.layer_norm_rms_epsilon"] = float(config["rms_norm_eps"])
    else:
        keys["attention.layer_norm_epsilon"] = float(config["layer_norm_eps"])
    if "rope_theta" in config and architecture in ("llama", "qwen2"):
        keys["rope.freq_base"] = float(config["rope_theta"])
    if architecture == "llama":
        keys.update({"vocab_size": config["vocab_size"], "rope.dimension_count": head_dim})
    if architecture == "gemma":
        keys.update({"attention.key_length": head_dim, "attention.value_length": head_dim})
    share = config.get("partial_rotary_factor", config.get("rotary_pct"))
    if share is not None:
        keys["rope.dimension_count"] = int(share * head_dim)
    if architecture in ("stablelm", "gptneox"):
        keys["use_parallel_residual"] = config["use_parallel_residual"]
    if "num_local_experts" in config:
        keys.update({"expert_count": config["num_local_experts"], "expert_used_count": config["num_experts_per_tok"]})
    return {"general.architecture": architecture, "general.type": "model", "general.name": name,
            **{f"{architecture}.{key}": value for key, value in keys.items()}}


def read_state(folder):
    state = {}
    for file in sorted(glob.glob(os.path.join(folder, "*.safetensors"))):
        state.update(load_file(file))
    for file in sorted(glob.glob(os.path.join(folder, "*.bin"))):
        state.update(torch.load(file))
    return state


def write_language_model(source, path, pre, state=None, extra=None):
    config = read_json(source, "config.json")
    state = read_state(source) if state is None else state
    architecture = ARCHITECTURE[config["model_type"]]
    tied = config.get("tie_word_embeddings", architecture == "gemma")
    if tied:
        state = {name: value for name, value in state.items() if name != "lm_head.weight"}
    metadata = {**language_metadata(config, architecture, os.path.basename(path)), **vocabulary(source, config, pre)}
    write_gguf(path, metadata, {**language_tensors(state, config, architecture), **(extra or {})})


# ---------------------------------------------------------------- LLaVA's tower and projector


def tower_name(name):
    """As the converter of 2023 calls it, whose "down" is the MLP's first layer."""
    for old, new in (("vision_model.encoder.layers.", "v.blk."), ("self_attn.q_proj", "attn_q"), ("self_attn.k_proj", "attn_k"),
                     ("self_attn.v_proj", "attn_v"), ("self_attn.out_proj", "attn_out"), ("layer_norm", "ln"), ("mlp.fc1", "ffn_down"),
                     ("mlp.fc2", "ffn_up"), ("vision_model.embeddings.class_embedding", "v.class_embd"),
                     ("vision_model.embeddings.patch_embedding", "v.patch_embd"),
                     ("vision_model.embeddings.position_embedding", "v.position_embd"), ("vision_model.pre_layrnorm", "v.pre_ln"),
                     ("model.mm_projector.", "mm.")):
        name = name.replace(old, new)
    return name


def write_tower(tower_folder, config, state, path):
    vision = read_json(tower_folder, "config.json")
    vision = vision.get("vision_config", vision)
    pictures = read_json(tower_folder, "preprocessor_config.json")
    blocks = vision["num_hidden_layers"] + config["mm_vision_select_layer"] + 1  # none behind the one whose output is used
    metadata = {
        "general.architecture": "clip", "clip.has_text_encoder": False, "clip.has_vision_encoder": True, "clip.has_llava_projector": True,
        "clip.projector_type": "mlp", "clip.use_gelu": vision["hidden_act"] == "gelu", "clip.vision.image_size": vision["image_size"],
        "clip.vision.patch_size": vision["patch_size"], "clip.vision.embedding_length": vision["hidden_size"],
        "clip.vision.feed_forward_length": vision["intermediate_size"], "clip.vision.projection_dim": config["hidden_size"],
        "clip.vision.attention.head_count": vision["num_attention_heads"],
        "clip.vision.attention.layer_norm_epsilon": float(vision.get("layer_norm_eps", 1e-5)), "clip.vision.block_count": blocks,
        "clip.vision.image_mean": [float(v) for v in pictures["image_mean"]],
        "clip.vision.image_std": [float(v) for v in pictures["image_std"]]}
    if config["image_aspect_ratio"] == "anyres":
        metadata.update({"clip.vision.mm_patch_merge_type": config["mm_patch_merge_type"],
                         "clip.vision.image_crop_resolution": config["image_crop_resolution"],
                         "clip.vision.image_grid_pinpoints": [side for pair in config["image_grid_pinpoints"] for side in pair]})
    tensors = {}
    for name in sorted(state):
        own = name.removeprefix("model.vision_tower.vision_tower.")
        is_tower = own.startswith("vision_model.") and not own.endswith("position_ids") and "post_layernorm" not in own
        if "encoder.layers." in own and int(own.split(".")[3]) >= blocks:
            continue
        if is_tower or own.startswith("model.mm_projector.") or own == "model.image_newline":
            value = state[name].float()
            tensors[tower_name(own)] = value.half() if value.ndim > 1 and "position" not in own and torch.equal(value.half().float(), value) else value
    write_gguf(path, metadata, tensors)


def write_llava(source, checkpoint):
    state = read_state(os.path.join(source, "checkpoint"))
    config = read_json(os.path.join(source, "checkpoint"), "config.json")
    tower = os.path.join(source, os.path.basename(config["mm_vision_tower"]))
    parts = ("model.vision_tower.", "model.mm_projector.", "model.image_newline")
    write_language_model(os.path.join(source, "checkpoint"), os.path.join(checkpoint, "ggml-model-f16.gguf"), None,
                         {name: value for name, value in state.items() if not name.startswith(parts)})
    own = {name: value for name, value in state.items() if name.startswith(parts)}
    write_tower(tower, config, {**read_state(tower), **own}, os.path.join(checkpoint, "mmproj-model-f16.gguf"))


# ---------------------------------------------------------------- cases


def write_llama(name, source):
    """Grouped queries, Llama 3's rotary frequencies, its byte-level vocabulary: by transformers."""
    import transformers

    folder, vocabulary_of = os.path.join(CASES, name), os.path.join(source, "checkpoint")
    checkpoint = os.path.join(folder, "checkpoint")
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_file=os.path.join(vocabulary_of, "tokenizer.json"))
    ends = read_json(vocabulary_of, "config.json")["text_config"]
    scaling = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
    config = dict(model_type="llama", vocab_size=len(tokenizer) + 3, hidden_size=64, intermediate_size=96, num_hidden_layers=2,
                  num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=131072, rms_norm_eps=1e-5, rope_theta=500000.0,
                  rope_scaling=scaling, tie_word_embeddings=True, bos_token_id=ends["bos_token_id"], eos_token_id=ends["eos_token_id"])
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**config, attn_implementation="eager")).float().eval()
    generator = torch.Generator().manual_seed(11)
    with torch.no_grad():
        for key, parameter in sorted(model.named_parameters()):
            noise = torch.randn(parameter.shape, generator=generator)
            scale = 0.5 if "embed" in key else 2 / math.sqrt(parameter[0].numel()) if parameter.ndim > 1 else 0
            parameter.copy_(noise * scale if scale else 1 + 0.2 * noise)
    plain = 1 / config["rope_theta"] ** (torch.arange(0, 16, 2).float() / 16)
    factors = plain / model.model.rotary_emb.inv_freq  # what they are divided by
    prompt = "The vision encoder, of a language model in 2024, is"
    ids = torch.tensor([config["bos_token_id"]] + tokenizer(prompt, add_special_tokens=False).input_ids)
    new = []
    with torch.no_grad():
        for _ in range(10):
            step = model(torch.cat([ids, torch.tensor(new, dtype=torch.long)])[None]).logits[0]
            new.append(int(step[-1].argmax()))
            logits = step[:len(ids)]
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(checkpoint)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(os.path.join(vocabulary_of, file), checkpoint)
    with open(os.path.join(checkpoint, "config.json"), "w", encoding="utf-8") as f:
        json.dump(config, f)
    state = {key: value.detach().clone() for key, value in model.state_dict().items()}
    write_language_model(checkpoint, os.path.join(checkpoint, "model.gguf"), "llama-bpe", state, {"rope_freqs.weight": factors})
    for file in ("tokenizer.json", "tokenizer_config.json", "config.json"):
        os.remove(os.path.join(checkpoint, file))
    save_file({"input_ids": ids, "logits": logits.contiguous().clone(), "generated_ids": torch.tensor(new)},
              os.path.join(folder, "expected.safetensors"))
    return {"format": 1, "system": "block-llama", "task": "generate",
            "reference": f"transformers {transformers.__version__} (torch {torch.__version__.split('+')[0]}, CPU, float32, eager attention): "
                         "LlamaForCausalLM, rope_scaling llama3",
            "inputs": {"prompt": prompt, "images": []}, "generate": {"max_new_tokens": 10, "do_sample": False, "num_beams": 1},
            "checks": [{"tensor": "input_ids", "exact": True}, {"tensor": "logits", "atol": float(f"{1e-4 * float(logits.std()):.3g}"), "rtol": 1e-5},
                       {"tensor": "generated_ids", "exact": True}]}


def write(name, source, pre):
    folder, source = os.path.join(CASES, name), os.path.join(CASES, source)
    if name == "block-llama-gguf-a":
        meta = write_llama(name, source)
        meta["variant"] = "GGUF: grouped queries, Llama 3's rotary frequencies, tied head"
    else:
        shutil.rmtree(folder, ignore_errors=True)
        checkpoint = os.path.join(folder, "checkpoint")
        os.makedirs(checkpoint)
        meta = read_json(source, "case.json")
        meta["variant"] = "GGUF: " + meta["variant"]
        for file in ("media", "expected.safetensors"):
            if os.path.isdir(os.path.join(source, file)):
                shutil.copytree(os.path.join(source, file), os.path.join(folder, file))
            elif os.path.exists(os.path.join(source, file)):
                shutil.copy(os.path.join(source, file), folder)
        if pre == "llava":
            write_llava(source, checkpoint)
        else:
            write_language_model(os.path.join(source, "checkpoint"), os.path.join(checkpoint, "model.gguf"), pre)
    with open(os.path.join(folder, "case.json"), "w", encoding="utf-8") as f:
        json.dump(meta, f, indent=2)
        f.write("\n")
    print(name, sorted(os.listdir(os.path.join(folder, "checkpoint"))), flush=True)


# Name, the case that is converted, and tokenizer.ggml.pre of byte-level vocabularies.
KNOWN = {"block-llama-gguf-a": ("mantis-a", "llama-bpe"), "block-mixtral-gguf-a": ("block-mixtral-a", None),
         "block-qwen2-gguf-a": ("block-qwen2-a", "qwen2"), "block-gemma-gguf-a": ("block-gemma-a", None),
         "block-phi-gguf-a": ("block-phi-a", "phi-2"), "block-stablelm-gguf-a": ("block-stablelm-a", "stablelm2"),
         "block-gpt-neox-gguf-a": ("block-gpt-neox-a", "olmo"), "llava-1.5-gguf-a": ("llava-1.5-authors-a", "llava"),
         "llava-1.6-gguf-a": ("llava-1.6-authors-a", "llava")}

if __name__ == "__main__":
    for wanted in WANTED:
        write(wanted, *KNOWN[wanted])
