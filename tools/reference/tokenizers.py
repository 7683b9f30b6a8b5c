"""Writes the tokenizer cases of tests/cases/tokenizers with the reference libraries.

Needs Python with tokenizers, transformers, sentencepiece and tiktoken:

    python3 tools/reference/tokenizers.py tests/cases/tokenizers

Each folder holds the files of one small tokenizer, trained here, and expected.json: what the reference makes of the
texts in strings.json. `ids` has special tokens, `plain_ids` none; `text` is the decoded text with special tokens and
`skipped` without, null where it equals the input, true where it
equals `text`, and false where the reference has no answer to compare with.
"""

import base64
import json
import os
import random
import sys

# The file is called like the library that it needs.
sys.path[:] = [p for p in sys.path if os.path.abspath(p or ".") != os.path.dirname(os.path.abspath(__file__))]

import sentencepiece
import tiktoken
import tokenizers
import transformers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers.tokenization_utils_sentencepiece import SentencePieceBackend, import_protobuf

TO = sys.argv[1]
SENTENCES = [
    "The vision encoder turns an image into tokens; the language model reads them.",
    "A photo of a cat sitting on a red mat, next to a dog's bowl.",
    "What is shown in this picture? It's 42 km/h, isn't it? We'll see, they've gone.",
    "Les élèves français étaient à l'école où ça coûte 3,50 €.",
    "Größe, Übergrößen und Straßenbahnen müssen überall fließen.",
    "El niño pequeño comió piñas mañana; ¿cuándo volverá el señor Muñoz?",
    "Kožený měch žlutý kůň úpěl ďábelské ódy.",
    "Zażółć gęślą jaźń, proszę pana.",
    "Быстрая коричневая лиса перепрыгивает через ленивую собаку.",
    "Η γρήγορη αλεπού πηδάει πάνω από τον τεμπέλη σκύλο. ΟΔΥΣΣΕΥΣ",
    "السلام عليكم ورحمة الله، كيف حالك اليوم؟ ١٢٣٤٥",
    "שלום עולם, מה שלומך היום? בְּרֵאשִׁית",
    "नमस्ते दुनिया, आप कैसे हैं? १२३ क्षत्रिय",
    "আমি বাংলায় গান গাই। ৪৫৬",
    "வணக்கம் உலகம், எப்படி இருக்கிறீர்கள்?",
    "สวัสดีชาวโลก วันนี้อากาศดีมาก ๑๒๓",
    "ຍິນດີຕ້ອນຮັບ",
    "გამარჯობა მსოფლიო, როგორ ხარ?",
    "Բարեւ աշխարհ, ինչպես ես։",
    "敏捷的棕色狐狸跳过了懒狗。这张图片里有什么？价格是１２３元。",
    "素早い茶色の狐が怠け者の犬を飛び越える。カタカナ、ﾊﾝｶｸ、ひらがなー。",
    "빠른 갈색 여우가 게으른 개를 뛰어넘는다. 안녕하세요 세계!",
    "Tiếng Việt có rất nhiều dấu thanh: ằ ẵ ộ ữ ỷ.",
    "ሰላም ለዓለም። አማርኛ",
    "សួស្តីពិភពលោក",
    "မင်္ဂလာပါ ကမ္ဘာလောက",
    "ᓄᓇᕗᑦ ᐃᓄᒃᑎᑐᑦ",
    "İstanbul'da ılık bir gün, IĞDIR ve iğde.",
]
CODE = [
    "for (int i = 0; i < n; ++i) { sum += a[i] * b[i]; }  // dot product",
    "def forward(self, x):\n    return self.norm(x + self.attn(x))\n",
    "<div class=\"box\" id='x'>Tom &amp; Jerry</div>\n\n\n",
    "{\"key\": [1, 2.5, -3e-7, null, true], \"path\": \"C:\\\\temp\\\\new\"}",
    "SELECT * FROM t WHERE a<=10 AND b<>'x';\t-- comment",
    "if\tx:\n\t\treturn\tNone\r\n\r\n",
    "https://example.org/a_b/c-d?e=f&g=%20h#frag user.name+tag@mail.example",
    "$\\frac{a^2}{b_1}$ ~~~ *** ___ --- === `code` |a|b|",
]
ODD = [
    "",
    " ",
    "  ",
    "a",
    " a",
    "a ",
    "  a  b  ",
    "\n",
    "\n\n\n",
    "\t\t x",
    " \n \n ",
    "a\n",
    "a\n\n b",
    "          indented",
    "trailing          ",
    "a" * 60,
    " " * 40 + "x" + " " * 17,
    "\u00a0non\u00a0breaking\u2003em\u3000wide\u200bzero\u202fnarrow",
    "\u0000nul\u0001\u0007\u001b[31m\u007f\u0080\u009f\u0085next\u2028line\u2029paragraph",
    "soft\u00adhyphen \ufeffbom \u2060joiner \u200c\u200d \u061c\u200e\u200f",
    "\ufffd replacement \ufffe \uffff \U0010ffff \ue000 private",
    "e\u0301 a\u0308\u0304 o\u0302\u0301 \u0041\u030a \u212b \u1e9b\u0323 q\u0307\u0323 q\u0323\u0307",
    "Z\u0351\u036b\u0343\u036a\u0302A\u036b\u034cL\u0364\u0348G\u033b\u0321O\u0316",
    "\ufb01ne \ufb03 \u2460 \u00bd \u2167 \u33a5 \uff21\uff42\uff13 \u212f \u2126 \u00b5 \u017f \u1e9e \u0149",
    "\u1112\u1161\u11ab\u1100\u1173\u11af \ud55c\uae00 \u3131\u314f",
    "\u0928\u093f \u0ba8\u0bbf \u0e33 \u0f71\u0f72 \u0d4d\u200d",
    "😀 😃👍🏽 👩‍👩‍👧‍👦 🏳️‍🌈 🇫🇷🇩🇪🇯🇵 ❤️ ☺︎ 1️⃣ #️⃣ 🧑🏿‍🚀",
    "🦾🫠🪿🫨 🀄 ♠♣ ✂️ ™ © ®",
    "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𝒎𝒂𝒕𝒉 𝟙𝟚𝟛 ℕℤ∑∫√∞≠≤≥±×÷",
    "𐍈𐌰 𓀀𓂀 𒀀 𠀀𠮷 𪚥 㐀",
    "←↑→↓ ■□▲▼ ─│┌┐ ░▒▓ ▁▂▃ ▁hello▁world ▁",
    "_under_score_ ‿ ⁀ ﹏ ＿",
    "don't DON'T I'M we'RE you'Ll ’tis ‘quoted’ “double” «guillemets» „low“ 'sa 'tx",
    "1234567890 3.14159 1,000,000 ٣٫١٤ ²³¹ ¼ Ⅻ 12ab34 0x1F",
    "ALLCAPS MixedCase camelCase snake_case kebab-case SCREAMING_SNAKE",
    "...!!!???;;;:::,,, (a) [b] {c} <d> /e/ \\f\\ |g|",
    "word\u0301s\u200dwith\u200cjoiners and\u00a0spaces",
    "\r\rcarriage\r\n returns \n\r mixed\v\f",
    "x\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301y",
    "ǅ ǈ ǋ ȸ ʰ ˈ ª º ʼ ՙ ӏ",
    "ΑΣ ΑΣΑ Σ ΣΑ ΑΣ. ΑΣ' ß ẞ",
    "<0x0A> <0xE4> <unk> is a word, [UNK] too ##ing @@",
    "do not do n't 's 've 're 'm ' quoted ' . , ! ?",
    "Ａｐｐｌｅ　ﾃﾞｽ ㈱ ㍿ ﷺ",
]
SPECIAL = [
    "<s>hello</s>",
    "<s> hello </s> world",
    "</s>",
    "<s><s></s>",
    "Describe <image> briefly",
    "<image>\nUSER: What? ASSISTANT:",
    " <image> <image>x<image>",
    "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n",
    "<|endoftext|>text<|endoftext|>",
    "a<|endoftext|> b <|startoftext|>c",
    "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>",
    "[CLS] a [SEP] b [MASK] [PAD]",
    "[INST] What is it? [/INST] It is.</s>",
    "<extra_id_0> fill <extra_id_1>.",
    "<bos><start_of_turn>user\nhi<end_of_turn>",
    "<loc0012><seg003>",
    "lone  <mask>  strip   <mask>",
    "wordtoken WORDTOKEN xwordtokenx wordtoken.",
    "Yesterday yesterday YESTERDAY",
    "<|im_start|<s>|> <s <|extra_3|> <img>a.png</img>",
]


def all_strings():
    rng = random.Random(7)
    texts = SENTENCES[:8] + [s[:34] for s in SENTENCES[8:]] + CODE + ODD + SPECIAL
    atoms = [w for t in SENTENCES + CODE + ODD + SPECIAL for w in t.split(" ") if w] + [" ", "  ", "\n", "\t", ".", "’", "7"]
    for _ in range(104):
        n = rng.randrange(2, 7)
        parts = [rng.choice(atoms)[:14] for _ in range(n)]
        texts.append(rng.choice(["", " "]).join(parts) if rng.random() < 0.7 else "".join(parts))
    return list(dict.fromkeys(texts))


STRINGS = all_strings()
PAIRS = [(0, 1), (3, 19), (8, 2), (1, 39), (40, 0), (26, 80), (81, 82)]
PARAGRAPH = (
    "Vision-language models read pictures and text. An encoder cuts the picture into patches, a connector maps the "
    "features into the width of the language model, and the decoder answers questions about the picture. Training "
    "starts from pairs of images and captions. The answer is written token by token, and every token depends on the "
    "tokens before it. In 2024 models learnt to read documents, charts, videos and user interfaces. "
)
CORPUS = [PARAGRAPH] * 3 + SENTENCES * 2 + CODE + [s.lower() for s in SENTENCES]


def save_json(path, value):
    with open(path, "w", encoding="ascii") as f:
        json.dump(value, f, ensure_ascii=True, separators=(",", ":"))
        f.write("\n")


def shortened(text, source):
    return None if text == source else text


def write(kind, files, encode, decode, pair=None, note=""):
    """files: name -> bytes or value. encode(text, special) -> ids, decode(ids, skip) -> text or False."""
    folder = os.path.join(TO, kind)
    os.makedirs(folder, exist_ok=True)
    for name, content in files.items():
        path = os.path.join(folder, name)
        if isinstance(content, bytes):
            with open(path, "wb") as f:
                f.write(content)
        elif isinstance(content, str):
            with open(path, "w", encoding="utf-8", newline="") as f:
                f.write(content)
        else:
            save_json(path, content)
    expected = {
        "reference": f"tokenizers {tokenizers.__version__}, transformers {transformers.__version__}, "
        f"sentencepiece {sentencepiece.__version__}, tiktoken {tiktoken.__version__}" + (": " + note if note else ""),
        "ids": [],
        "plain_ids": [],
        "text": [],
        "skipped": [],
        "pairs": [],
    }
    for text in STRINGS:
        ids = encode(text, True)
        plain = encode(text, False)
        expected["ids"].append(ids)
        expected["plain_ids"].append(plain)
        expected["text"].append(shortened(decode(ids, False), text))
        skipped = shortened(decode(ids, True), text)
        expected["skipped"].append(True if skipped and skipped == expected["text"][-1] else skipped)
    if pair:
        for left, right in PAIRS:
            ids, types = pair(STRINGS[left], STRINGS[right])
            expected["pairs"].append([left, right, ids, types])
    # plain_ids mostly are the ids without their first or last few: stored as (skipped in front, behind).
    for index, (ids, plain) in enumerate(zip(expected["ids"], expected["plain_ids"])):
        for front in range(3):
            back = len(ids) - front - len(plain)
            if 0 <= back < 3 and ids[front : len(ids) - back] == plain:
                expected["plain_ids"][index] = [[front, back]]
                break
    save_json(os.path.join(folder, "expected.json"), expected)


def from_library(kind, tokenizer, extra=None, note=""):
    text = tokenizer.to_str()
    tokenizer = Tokenizer.from_str(text)

    def pair(a, b):
        e = tokenizer.encode(a, b)
        return e.ids, e.type_ids

    files = {"tokenizer.json": json.loads(text)}
    files.update(extra or {})
    write(
        kind,
        files,
        lambda t, s: tokenizer.encode(t, add_special_tokens=s).ids,
        lambda ids, skip: tokenizer.decode(ids, skip_special_tokens=skip),
        pair,
        note,
    )
    return tokenizer


def from_transformers(kind, files, note, decode=None):
    """Reads the files back through transformers' own classes."""
    folder = os.path.join(TO, kind)
    os.makedirs(folder, exist_ok=True)
    write(kind, files, lambda t, s: [], lambda i, s: False)
    tok = transformers.AutoTokenizer.from_pretrained(folder)

    def pair(a, b):
        e = tok(a, b, return_token_type_ids=True)
        return e["input_ids"], e["token_type_ids"]

    write(
        kind,
        files,
        lambda t, s: tok(t, add_special_tokens=s)["input_ids"],
        decode or (lambda ids, skip: tok.decode(ids, skip_special_tokens=skip)),
        pair,
        note,
    )


def special(*contents):
    return [AddedToken(c, special=True, normalized=False) for c in contents]


def trained(tokenizer, vocab_size, alphabet=(), kind=trainers.BpeTrainer, **options):
    tokenizer.train_from_iterator(
        CORPUS, kind(vocab_size=vocab_size, initial_alphabet=list(alphabet), show_progress=False, **options)
    )
    return json.loads(tokenizer.to_str())["model"]


def byte_level_model(vocab_size, split, normalizer=None):
    t = Tokenizer(models.BPE())
    if normalizer:
        t.normalizer = normalizer
    t.pre_tokenizer = split
    m = trained(t, vocab_size, pre_tokenizers.ByteLevel.alphabet())
    return m["vocab"], [tuple(p) for p in m["merges"]]


def cut(pattern, use_regex=False):
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=use_regex),
        ]
    )


QWEN2 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA3 = QWEN2.replace(r"\p{N}|", r"\p{N}{1,3}|")
GPT4O = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
    r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
KIMI = r"[\p{Han}]+|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}&&[^\p{Han}]]+|\p{N}{1,3}+|[^\s\w]+|\h{2}|\s+$|\s+"


def metaspace_bpe(vocab_size=560):
    """Vocabulary and merges of a Llama-like tokenizer: special tokens, 256 bytes, pieces with U+2581."""
    t = Tokenizer(models.BPE())
    t.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    t.pre_tokenizer = pre_tokenizers.Split("▁", behavior="merged_with_next")
    m = trained(t, vocab_size - 259)
    names = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)]
    names += [x for x in sorted(m["vocab"], key=m["vocab"].get) if x not in names]
    return {n: i for i, n in enumerate(names)}, [tuple(p) for p in m["merges"]]


def llama_like():
    vocab, merges = metaspace_bpe()
    bos = processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s>:1 $B:1", special_tokens=[("<s>", 1)])
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    t = Tokenizer(models.BPE(vocab, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    t.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    t.post_processor = bos
    t.decoder = decoders.Sequence(steps)
    t.add_tokens(special("<unk>", "<s>", "</s>") + [AddedToken("<image>", special=True, normalized=False)])
    t.add_tokens([AddedToken("wordtoken", single_word=True, normalized=False), AddedToken("<mask>", lstrip=True, special=True, normalized=False)])
    from_library("llama", t)

    t = Tokenizer(models.BPE(vocab, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    t.pre_tokenizer = pre_tokenizers.Metaspace("▁", prepend_scheme="first", split=False)
    t.post_processor = bos
    t.decoder = decoders.Sequence(steps)
    t.add_tokens(special("<unk>", "<s>", "</s>") + [AddedToken("<image>", special=True, normalized=False, rstrip=True)])
    from_library("llama-metaspace", t)

    # No byte pieces: characters that the vocabulary lacks become one unknown token, or one each.
    small = {}
    for name in vocab:
        if not name.startswith("<0x"):
            small[name] = len(small)
    t = Tokenizer(models.BPE(small, merges, unk_token="<unk>", fuse_unk=False))
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Metaspace("▁", prepend_scheme="always", split=True), pre_tokenizers.Digits(True)])
    t.decoder = decoders.Metaspace("▁", prepend_scheme="always")
    from_library("bpe-unknown", t)

    # Gemma: no prefix, blanks only replaced, words end in blanks.
    t = Tokenizer(models.BPE(vocab, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    t.normalizer = normalizers.Replace(" ", "▁")
    t.pre_tokenizer = pre_tokenizers.Split(" ", behavior="merged_with_previous")
    t.post_processor = bos
    t.decoder = decoders.Sequence(steps[:3])
    t.add_tokens(special("<unk>", "<s>", "</s>", "<start_of_turn>", "<end_of_turn>", "<loc0012>", "<seg003>"))
    t.add_tokens([AddedToken("\n\n", normalized=False), AddedToken("▁▁", normalized=True), AddedToken("Yesterday", normalized=True)])
    from_library("gemma", t)

    scores = {name: -float(rank) for rank, name in enumerate(a + b for a, b in merges)}
    types = [2, 3, 3] + [6] * 256 + [1] * (len(vocab) - 259)
    order = sorted(vocab, key=vocab.get)
    sp_scores = [0.0] * 259 + [scores.get(n, -1e9) for n in order[259:]]
    legacy = Tokenizer(models.BPE(vocab, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    legacy.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    legacy.post_processor = bos
    legacy.decoder = decoders.Sequence(steps)
    legacy.add_tokens(special("<unk>", "<s>", "</s>"))
    gguf = {"model": "llama", "tokens": order, "scores": sp_scores, "token_types": types, "bos_id": 1, "eos_id": 2, "unk_id": 0}
    write(
        "gguf-llama",
        {"gguf.json": gguf},
        lambda t, s: legacy.encode(t, add_special_tokens=s).ids,
        lambda ids, skip: legacy.decode(ids, skip_special_tokens=skip),
    )


def byte_level():
    vocab, merges = byte_level_model(420, pre_tokenizers.ByteLevel(add_prefix_space=False))
    with_end = dict(vocab, **{"<|endoftext|>": len(vocab)})
    merges_txt = "#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges)
    t = Tokenizer(models.BPE(with_end, merges))
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    t.post_processor = processors.ByteLevel(trim_offsets=False)
    t.decoder = decoders.ByteLevel()
    t.add_special_tokens(["<|endoftext|>"])
    from_library("gpt2", t)
    from_transformers(
        "gpt2-files",
        {"vocab.json": with_end, "merges.txt": merges_txt, "tokenizer_config.json": {"tokenizer_class": "GPT2Tokenizer", "bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}},
        "GPT2Tokenizer",
    )
    write(
        "gguf-gpt2",
        {
            "gguf.json": {
                "model": "gpt2",
                "pre": "gpt-2",
                "tokens": sorted(with_end, key=with_end.get),
                "token_types": [1] * len(vocab) + [3],
                "merges": [f"{a} {b}" for a, b in merges],
                "bos_id": len(vocab),
                "eos_id": len(vocab),
            }
        },
        lambda text, s: plain_gpt2(with_end, merges).encode(text, add_special_tokens=s).ids,
        lambda ids, skip: plain_gpt2(with_end, merges).decode(ids, skip_special_tokens=skip),
    )

    # GPT-NeoX: NFC, runs of blanks as added tokens that are not special.
    t = Tokenizer(models.BPE(with_end, merges))
    t.normalizer = normalizers.NFC()
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    t.post_processor = processors.ByteLevel(trim_offsets=True)
    t.decoder = decoders.ByteLevel()
    t.add_special_tokens(["<|endoftext|>", "<|padding|>"])
    t.add_tokens([AddedToken(" " * n, normalized=True) for n in range(2, 9)])
    from_library("gpt-neox", t)

    # BART and RoBERTa.
    names = ["<s>", "<pad>", "</s>", "<unk>"] + sorted(vocab, key=vocab.get) + ["<mask>"]
    t = Tokenizer(models.BPE({n: i for i, n in enumerate(names)}, merges))
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    t.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), trim_offsets=True, add_prefix_space=False)
    t.decoder = decoders.ByteLevel()
    t.add_special_tokens(special("<s>", "<pad>", "</s>", "<unk>") + [AddedToken("<mask>", lstrip=True, special=True, normalized=False)])
    from_library("roberta", t)

    vocab, merges = byte_level_model(420, cut(QWEN2), normalizers.NFC())
    t = Tokenizer(models.BPE(vocab, merges))
    t.normalizer = normalizers.NFC()
    t.pre_tokenizer = cut(QWEN2)
    t.post_processor = processors.ByteLevel(trim_offsets=False)
    t.decoder = decoders.ByteLevel()
    t.add_special_tokens(special("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<image>"))
    t.add_tokens(["<loc0012>"])
    from_library("qwen2", t)
    from_transformers(
        "qwen2-files",
        {
            "vocab.json": vocab,
            "merges.txt": "#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges),
            "tokenizer_config.json": {
                "tokenizer_class": "Qwen2Tokenizer",
                "added_tokens_decoder": {
                    str(len(vocab) + i): {"content": c, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True}
                    for i, c in enumerate(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
                },
                "eos_token": "<|im_end|>",
                "pad_token": "<|endoftext|>",
                "unk_token": None,
                "bos_token": None,
            },
        },
        "Qwen2Tokenizer",
    )

    vocab, merges = byte_level_model(420, cut(LLAMA3))
    # Words of the vocabulary that no merge reaches.
    for word in ["Ġencoder", "Ġlanguage", "picture"]:
        vocab.setdefault(word, len(vocab))
    t = Tokenizer(models.BPE(vocab, merges, ignore_merges=True))
    t.pre_tokenizer = cut(LLAMA3)
    t.decoder = decoders.ByteLevel()
    t.add_special_tokens(special("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"))
    bos = t.token_to_id("<|begin_of_text|>")
    t.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=False),
            processors.TemplateProcessing(
                single="<|begin_of_text|> $A", pair="<|begin_of_text|> $A <|begin_of_text|>:1 $B:1", special_tokens=[("<|begin_of_text|>", bos)]
            ),
        ]
    )
    from_library("llama3", t)

    for kind, pattern in [("gpt4o", GPT4O), ("class-operations", KIMI)]:
        vocab, merges = byte_level_model(380, cut(pattern))
        t = Tokenizer(models.BPE(vocab, merges))
        t.pre_tokenizer = cut(pattern)
        t.decoder = decoders.ByteLevel()
        from_library(kind, t)


PLAIN = {}


def plain_gpt2(vocab, merges):
    if "t" not in PLAIN:
        t = Tokenizer(models.BPE(vocab, merges))
        t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        t.decoder = decoders.ByteLevel()
        t.add_special_tokens(["<|endoftext|>"])
        PLAIN["t"] = t
    return PLAIN["t"]


def clip():
    t = Tokenizer(models.BPE(unk_token="<|endoftext|>", end_of_word_suffix="</w>"))
    t.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()])
    pattern = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
    split = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), behavior="removed", invert=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    t.pre_tokenizer = split
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    m = trained(t, 600, alphabet, end_of_word_suffix="</w>")
    vocab = m["vocab"]
    for letter in alphabet:
        vocab.setdefault(letter, len(vocab))
        vocab.setdefault(letter + "</w>", len(vocab))
    for token in ["<|startoftext|>", "<|endoftext|>"]:
        vocab[token] = len(vocab)
    merges = [tuple(p) for p in m["merges"]]
    start, end = vocab["<|startoftext|>"], vocab["<|endoftext|>"]
    t = Tokenizer(models.BPE(vocab, merges, unk_token="<|endoftext|>", end_of_word_suffix="</w>", continuing_subword_prefix=""))
    t.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()])
    t.pre_tokenizer = split
    t.post_processor = processors.RobertaProcessing(("<|endoftext|>", end), ("<|startoftext|>", start), trim_offsets=False, add_prefix_space=False)
    t.decoder = decoders.ByteLevel()
    t.add_tokens([AddedToken("<|startoftext|>", special=True, normalized=True), AddedToken("<|endoftext|>", special=True, normalized=False)])
    from_library("clip", t)
    config = {"tokenizer_class": "CLIPTokenizer", "bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}
    # transformers' CLIPTokenizer also takes its two tokens as words of the pattern, and turns word ends into blanks.
    t = Tokenizer.from_str(t.to_str())
    t.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(r"<\|startoftext\|>|<\|endoftext\|>|" + pattern), behavior="removed", invert=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    t.add_tokens(special("<|startoftext|>", "<|endoftext|>"))
    write(
        "clip-files",
        {"vocab.json": vocab, "merges.txt": "#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges), "tokenizer_config.json": config},
        lambda text, s: t.encode(text, add_special_tokens=s).ids,
        lambda ids, skip: t.decode(ids, skip_special_tokens=skip).replace("</w>", " ").strip(),
        note="as CLIPTokenizer",
    )
    # The decoder of original BPE.
    t = Tokenizer(models.BPE(unk_token="<unk>", end_of_word_suffix="</w>", fuse_unk=True))
    t.normalizer = normalizers.BertNormalizer()
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation("contiguous")])
    t.decoder = decoders.BPEDecoder("</w>")
    trained(t, 450, special_tokens=["<unk>"], end_of_word_suffix="</w>", limit_alphabet=150)
    from_library("openai-gpt", t)


def words():
    t = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    t.normalizer = normalizers.BertNormalizer(lowercase=True)
    t.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    m = trained(t, 560, kind=trainers.WordPieceTrainer, special_tokens=names)
    t.decoder = decoders.WordPiece()
    t.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0", pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    lower = from_library("bert", t)
    order = sorted(m["vocab"], key=m["vocab"].get)
    from_transformers(
        "bert-files",
        {"vocab.txt": "".join(x + "\n" for x in order), "tokenizer_config.json": {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "clean_up_tokenization_spaces": True}},
        "BertTokenizer",
    )
    marked = [x if x in names else x[2:] if x.startswith("##") else "▁" + x for x in order]
    write(
        "gguf-bert",
        {"gguf.json": {"model": "bert", "tokens": marked, "token_types": [3] * 5 + [1] * (len(order) - 5), "cls_id": 2, "sep_id": 3, "unk_id": 1}},
        lambda text, s: lower.encode(text, add_special_tokens=s).ids,
        lambda ids, skip: lower.decode(ids, skip_special_tokens=skip),
    )
    t = Tokenizer(models.WordPiece(m["vocab"], unk_token="[UNK]", max_input_chars_per_word=30))
    t.normalizer = normalizers.Sequence([normalizers.NFKD(), normalizers.StripAccents(), normalizers.Strip(True, True)])
    t.pre_tokenizer = pre_tokenizers.Whitespace()
    t.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    t.decoder = decoders.WordPiece(cleanup=False)
    t.add_tokens([AddedToken("yesterday", normalized=True), AddedToken("wordtoken", single_word=True, normalized=True), AddedToken("<mask>", lstrip=True, rstrip=True, normalized=True)])
    from_library("wordpiece-cased", t)

    t = Tokenizer(models.WordLevel(unk_token="<unk>"))
    t.normalizer = normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC(), normalizers.Lowercase(), normalizers.Replace(Regex(r"(\p{P})\1+"), "…")])
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Whitespace(), pre_tokenizers.Digits(False)])
    t.train_from_iterator(CORPUS, trainers.WordLevelTrainer(vocab_size=400, special_tokens=["<unk>", "<pad>"], show_progress=False))
    from_library("wordlevel", t)

    # Behaviours of Split that no other case has, and the CTC decoder.
    letters = {c: i for i, c in enumerate(["<pad>", "|", "<unk>"] + sorted({c for s in SENTENCES[:3] for c in s.upper() if c != " "}))}
    t = Tokenizer(models.WordLevel(letters, unk_token="<unk>"))
    t.normalizer = normalizers.Sequence([normalizers.Replace("A", "a"), normalizers.NFD()])
    t.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"[aeiou]+"), behavior="merged_with_next"),
            pre_tokenizers.Split(Regex(r"\d"), behavior="merged_with_previous"),
            pre_tokenizers.Split(Regex(r"[[:punct:]]"), behavior="contiguous"),
            pre_tokenizers.CharDelimiterSplit("|"),
            pre_tokenizers.Split("", behavior="isolated"),
        ]
    )
    t.decoder = decoders.CTC()
    from_library("split-behaviours", t)


def train_sentencepiece(**options):
    import io
    import tempfile

    out = io.BytesIO()
    with tempfile.NamedTemporaryFile("w", suffix=".tsv", delete=False) as rules:
        # A few rules of nmt_nfkc: the whole has 240 KB.
        for a, b in [(0x9, 0x20), (0xA, 0x20), (0xD, 0x20), (0xA0, 0x20), (0x3000, 0x20), (0x2003, 0x20), (0x200B, 0x20), (0xFEFF, 0x20), (0x2581, 0x20)]:
            rules.write(f"{a:X}\t{b:X}\n")
        for c in range(0xFF01, 0xFF5F):
            rules.write(f"{c:X}\t{c - 0xFEE0:X}\n")
        for text, to in [("ﬁ", "fi"), ("½", "1\u20442"), ("①", "1"), ("e\u0301", "\u00e9"), ("a\u0308", "\u00e4"), ("\u212b", "\u00c5"), ("\u00ad", ""), ("\u0001", "")]:
            rules.write(" ".join(f"{ord(c):X}" for c in text) + "\t" + " ".join(f"{ord(c):X}" for c in to) + "\n")
    options = {"normalization_rule_tsv": rules.name, **options}
    if "normalization_rule_name" in options:  # the names are of rules that are built in
        del options["normalization_rule_tsv"]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([s for s in CORPUS if "\n" not in s]), model_writer=out, minloglevel=2, num_threads=1, hard_vocab_limit=False, **options
    )
    os.unlink(rules.name)
    return out.getvalue()


class SlowLlama(SentencePieceBackend):
    """LlamaTokenizer of transformers 4: the prefix is put in front of the whole text unless `legacy`."""

    def tokenize(self, text, **kwargs):
        if self.legacy or len(text) == 0:
            return super().tokenize(text, **kwargs)
        tokens = super().tokenize("▁" + text.replace("▁", " "), **kwargs)
        if len(tokens) > 1 and tokens[0] == "▁" and tokens[1] in self.all_special_tokens:
            tokens = tokens[1:]
        return tokens


def slow(kind, model, config, name, bos=True, eos=False, **options):
    folder = os.path.join(TO, kind)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, name), "wb") as f:
        f.write(model)
    tok = SlowLlama(vocab_file=os.path.join(folder, name), **options)
    sp = sentencepiece.SentencePieceProcessor(model_proto=model)

    def encode(text, with_special):
        ids = tok.convert_tokens_to_ids(tok.tokenize(text))
        if not with_special:
            return ids
        ids = ([sp.bos_id()] if bos else []) + ids
        if eos and (eos == "always" or ids[-1:] != [sp.piece_to_id("</s>")]):
            ids = ids + [sp.piece_to_id("</s>")]
        return ids

    def decode(ids, skip):
        if skip is False or any(i >= sp.get_piece_size() or sp.is_unknown(i) for i in ids):
            return False
        return sp.decode(ids)

    write(kind, {name: model, "tokenizer_config.json": config}, encode, decode, note="SentencePieceBackend")
    return sp


def sentencepieces():
    llama = dict(model_type="bpe", byte_fallback=True, vocab_size=680, normalization_rule_name="identity", remove_extra_whitespaces=False, character_coverage=0.98, split_digits=True)
    model = train_sentencepiece(**llama, user_defined_symbols=["<pad>", "fill"])
    specials = dict(unk_token="<unk>", bos_token="<s>", eos_token="</s>")
    added = {"<image>": 0}
    for kind, legacy in [("llama-model-legacy", True), ("llama-model", False)]:
        size = sentencepiece.SentencePieceProcessor(model_proto=model).get_piece_size()
        config = dict(tokenizer_class="LlamaTokenizer", legacy=legacy, additional_special_tokens=["<image>"], **specials)
        slow(kind, model, config, "tokenizer.model", legacy=legacy, additional_special_tokens=["<image>"], extra_special_tokens=["<image>"], **specials)
    del added, size

    unigram = dict(model_type="unigram", vocab_size=500, pad_id=0, eos_id=1, unk_id=2, bos_id=-1, character_coverage=0.98)
    model = train_sentencepiece(**unigram)
    extra = [f"<extra_id_{i}>" for i in range(3)]
    config = dict(tokenizer_class="T5Tokenizer", extra_ids=3, unk_token="<unk>", eos_token="</s>", pad_token="<pad>", additional_special_tokens=extra)
    sp = slow(
        "t5-model", model, config, "spiece.model", bos=False, eos=True, legacy=True, unk_token="<unk>", eos_token="</s>", pad_token="<pad>",
        extra_special_tokens=extra[::-1],
    )
    pieces = [(sp.id_to_piece(i), sp.get_score(i)) for i in range(sp.get_piece_size())]
    proto = import_protobuf().ModelProto.FromString(model)
    charsmap = proto.normalizer_spec.precompiled_charsmap
    t = Tokenizer(models.Unigram(pieces, unk_id=2, byte_fallback=False))
    t.normalizer = normalizers.Precompiled(charsmap)
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace("▁", prepend_scheme="always")])
    t.post_processor = processors.TemplateProcessing(single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)])
    t.decoder = decoders.Metaspace("▁", prepend_scheme="always")
    t.add_special_tokens(special("<pad>", "</s>", "<unk>", *extra))
    from_library("t5", t, {"tokenizer_config.json": {"tokenizer_class": "T5Tokenizer"}})
    types = {0: 3, 1: 3, 2: 2}
    write(
        "gguf-t5",
        {
            "gguf.json": {
                "model": "t5", "tokens": [p for p, _ in pieces], "scores": [s for _, s in pieces], "token_types": [types.get(i, 1) for i in range(len(pieces))],
                "eos_id": 1, "unk_id": 2, "remove_extra_whitespaces": True, "precompiled_charsmap": base64.b64encode(charsmap).decode(),
            }
        },
        lambda text, s: split_sp(sp, text, ["<pad>", "</s>", "<unk>"]) + ([1] if s else []),
        lambda ids, skip: False,
    )
    t = Tokenizer(models.Unigram(pieces + [(f"<0x{b:02X}>", -20.0) for b in range(256)], unk_id=2, byte_fallback=True))
    t.normalizer = normalizers.Sequence([normalizers.Precompiled(charsmap), normalizers.Replace(Regex(" {2,}"), " ")])
    t.pre_tokenizer = pre_tokenizers.Metaspace("▁", prepend_scheme="first")
    t.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace("▁", prepend_scheme="first")])
    from_library("unigram-bytes", t)

    model = train_sentencepiece(**{**unigram, "vocab_size": 450, "character_coverage": 0.99}, user_defined_symbols=["wordtoken", "▁Yes"])
    folder = os.path.join(TO, "siglip")
    os.makedirs(folder, exist_ok=True)
    config = {"tokenizer_class": "SiglipTokenizer", "do_lower_case": True, "unk_token": "<unk>", "eos_token": "</s>", "pad_token": "</s>", "model_max_length": 64}
    with open(os.path.join(folder, "spiece.model"), "wb") as f:
        f.write(model)
    tok = transformers.SiglipTokenizer(vocab_file=os.path.join(folder, "spiece.model"))
    write(
        "siglip", {"spiece.model": model, "tokenizer_config.json": config},
        lambda text, s: tok(text, add_special_tokens=s)["input_ids"], lambda ids, skip: False, note="SiglipTokenizer",
    )


def split_sp(sp, text, specials):
    ids = []
    while text:
        found = [(text.find(s), -len(s), s) for s in specials if s in text]
        at, _, name = min(found) if found else (len(text), 0, "")
        ids += sp.encode(text[:at])
        if name:
            ids.append(sp.piece_to_id(name))
        text = text[at + len(name) :]
    return ids


def tiktokens():
    vocab, merges = byte_level_model(420, cut(QWEN2), normalizers.NFC())
    table = {c: b for b, c in tokenizers_alphabet().items()}
    ranks = {}
    for name in sorted(vocab, key=vocab.get):
        ranks[bytes(table[c] for c in name)] = len(ranks)
    names = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"] + [f"<|extra_{i}|>" for i in range(205)]
    names += ["<ref>", "</ref>", "<box>", "</box>", "<quad>", "</quad>", "<img>", "</img>", "<imgpad>"]
    encoding = tiktoken.Encoding("qwen", pat_str=QWEN2, mergeable_ranks=ranks, special_tokens={n: len(ranks) + i for i, n in enumerate(names)})
    import unicodedata

    def encode(text, special):
        return encoding.encode(unicodedata.normalize("NFC", text), allowed_special="all")

    def decode(ids, skip):
        return encoding.decode([i for i in ids if not skip or i < len(ranks)], errors="replace")

    text = "".join(f"{base64.b64encode(b).decode()} {r}\n" for b, r in ranks.items())
    write("qwen-tiktoken", {"qwen.tiktoken": text, "tokenizer_config.json": {"tokenizer_class": "QWenTokenizer"}}, encode, decode)


def tokenizers_alphabet():
    printable = list(range(33, 127)) + list(range(0xA1, 0xAD)) + list(range(0xAE, 0x100))
    letters, extra = {}, 0
    for b in range(256):
        if b in printable:
            letters[b] = chr(b)
        else:
            letters[b] = chr(256 + extra)
            extra += 1
    return letters


if __name__ == "__main__":
    os.makedirs(TO, exist_ok=True)
    save_json(os.path.join(TO, "strings.json"), STRINGS)
    for make in [llama_like, byte_level, clip, words, sentencepieces, tiktokens]:
        make()
    print(len(STRINGS), "texts")
