#!/usr/bin/env bash
# Answers, embeddings, classes, tokens, traces on tiny checkpoints.
source "$(dirname "$0")/lib.sh"
cases=$root/tests/cases
export HF_HOME=$scratch/hub

answer=$("$VLM" run "$tiny" --image "$picture" "What is this?" -n 8)
check "run answers" [ -n "$answer" ]
equal "run is deterministic" "$("$VLM" run "$tiny" --image "$picture" "What is this?" -n 8)" "$answer"
equal "the picture may come from standard input" \
  "$("$VLM" run "$tiny" --image - "What is this?" -n 8 < "$picture")" "$answer"
equal "the picture may stand before the question" "$("$VLM" run "$tiny" "$picture" "What is this?" -n 8)" "$answer"
equal "the question may come from standard input" \
  "$(echo "What is this?" | "$VLM" run "$tiny" --image "$picture" -n 8 -)" "$answer"

raw=$("$VLM" run "$tiny" --raw --image "$picture" -n 10 --json \
  $'USER: <image>\nWhat does this picture show? ASSISTANT:')
ids() { tr -d ' \n' <<< "$1" | sed 's/.*"ids":\[\([0-9,]*\)\].*/\1/'; }
check "--json has the ids" [ -n "$(ids "$raw")" ]
holds "--json has the times" "$raw" '"decode_s"'
same=$("$VLM" run "$tiny" --raw --image "$picture" -n 10 --json --threads 1 \
  $'USER: <image>\nWhat does this picture show? ASSISTANT:')
equal "one thread gives the same ids" "$(ids "$same")" "$(ids "$raw")"

caption=$cases/blip-caption-a/checkpoint
check "a captioner needs no question" [ -n "$("$VLM" run "$caption" "$picture" -n 6)" ]
holds "another model does" "$("$VLM" run "$tiny" "$picture" 2>&1)" "no question was given"
chosen=$("$VLM" run "$cases/blip-vqa-choose-a/checkpoint" "$cases/blip-vqa-choose-a/media/a.png" \
  "is there a dog in the picture?" --choose yes --choose "a model" --choose no)
holds "--choose ranks answers" "$(head -1 <<< "$chosen")" "a model"
equal "--choose prints all of them" "$(wc -l <<< "$chosen")" 3
holds "a matching head speaks in similarity" \
  "$("$VLM" similarity "$cases/blip-itm-a/checkpoint" --image "$picture" --text "a cat")" 'match .* %'

gguf=$cases/llava-1.5-gguf-a
check "GGUF files of a tower and a language model answer from their folder" \
  [ -n "$("$VLM" run "$gguf/checkpoint" "$gguf/media/a.png" "What is this?" -n 6)" ]
gguf=$cases/block-qwen2-gguf-a/checkpoint/model.gguf
check "a GGUF file answers by itself" [ -n "$("$VLM" run "$gguf" "The vision encoder" -n 6)" ]
holds "GGUF files are not written" "$("$VLM" quantize "$gguf" "$scratch/packed" 2>&1)" "GGUF files are read, not written"

draw() { "$VLM" run "$tiny" --image "$picture" "What is this?" -n 12 --temperature 1.5 --seed "$1" --json; }
equal "equal seeds give equal answers" "$(ids "$(draw 3)")" "$(ids "$(draw 3)")"
check "other seeds give other answers" [ "$(ids "$(draw 3)")" != "$(ids "$(draw 4)")" ]

speculate() {
  "$VLM" run "$root/assets/default" --image "$root/assets/samples/word.png" --json "$@" \
    'Describe the image. A brown ring and the text "cage" in red. Describe the image.'
}
plain=$(speculate) guessed=$(speculate --speculate)
equal "speculation gives the same ids" "$(ids "$guessed")" "$(ids "$plain")"
holds "without it nothing is guessed" "$(tr -d ' \n' <<< "$plain")" \
  '"accepted_prediction_tokens":0,"rejected_prediction_tokens":0'
holds "--json says how many guesses were right" "$guessed" '"accepted_prediction_tokens": [0-9]'
equal "a speculating chat says the same" \
  "$(printf '%s\n' "/image $picture" "What is this?" | "$VLM" chat "$tiny" -n 20 --speculate 2> "$scratch/err")" \
  "$("$VLM" run "$tiny" --image "$picture" "What is this?" -n 20)"
holds "speculation and beams exclude each other" \
  "$("$VLM" run "$tiny" "What?" --speculate --beams 2 2>&1)" "beam search goes several ways"

qwen=$cases/qwen2-vl-a/checkpoint
sampling() { "$VLM" run "$qwen" "What?" -n 2 --json "$@" | tr -d ' \n'; }
holds "the checkpoint says how to sample" "$(sampling)" '"do_sample":true,"temperature":0.01,"top_k":1,"top_p":0.001'
holds "the command line comes first" "$(sampling --top-k 3)" '"temperature":0.01,"top_k":3,'
holds "--temperature 0 is greedy" "$(sampling --temperature 0)" '"do_sample":false,'
holds "beam search is not drawn" "$(sampling --beams 2)" '"do_sample":false,.*"num_beams":2'
check "beam search answers" "$VLM" run "$tiny" --image "$picture" "What is this?" -n 4 --beams 3
for precision in bf16 int8 int4; do
  check "run --precision $precision" "$VLM" run "$tiny" --image "$picture" "What is this?" -n 4 --precision $precision
done
for precision in f32 f16 int8; do
  check "run --kv-precision $precision" "$VLM" run "$tiny" --image "$picture" "What is this?" -n 4 --kv-precision $precision
done
holds "--stats prints rates" "$("$VLM" run "$tiny" --image "$picture" "What?" -n 4 --stats 2>&1 > "$scratch/out")" \
  'encode .* prefill .* decode .*/s'
equal "standard error is empty without a terminal" \
  "$("$VLM" run "$tiny" --image "$picture" "What?" -n 4 2>&1 > "$scratch/out")" ""

check "--trace writes" "$VLM" run "$tiny" --image "$picture" "What?" -n 4 --trace "$scratch/trace" -q
holds "the trace has FORMAT.md's names" "$(head -c 20000 "$scratch/trace/trace.safetensors" | tr -d '\0')" '"image_features".*"logits"'
check "--picture writes" "$VLM" run "$tiny" --image "$picture" "What?" -n 4 --picture "$scratch/out.png"
equal "what --picture wrote is a PNG" "$(head -c 4 "$scratch/out.png" | tail -c 3)" "PNG"

talk=$(printf '%s\n' "/image $picture" "What is this?" "/save $scratch/chat.json" "/clear" "/quit" |
  "$VLM" chat "$tiny" -n 6 2> "$scratch/err")
check "chat answers" [ -n "$talk" ]
equal "chat's first answer is run's" "$talk" "$("$VLM" run "$tiny" --image "$picture" "What is this?" -n 6)"
holds "chat saves the conversation" "$(cat "$scratch/chat.json")" '"role": "assistant"'

clip=$cases/clip-a/checkpoint
clip_picture=$(ls "$cases"/clip-a/media/* | head -n 1)
equal "embed prints a row for each input" "$("$VLM" embed "$clip" --image "$clip_picture" --text "a cat" | wc -l)" 2
holds "embed --json" "$("$VLM" embed "$clip" --text "a cat" --json)" '"embedding"'
holds "classify with labels" "$("$VLM" classify "$clip" --image "$clip_picture" --labels "a cat,a dog")" '%  a (cat|dog)'
holds "classify with the model's classes" "$("$VLM" classify "$cases/vit-a/checkpoint" --image "$clip_picture")" ' %  '
holds "similarity" "$("$VLM" similarity "$clip" --image "$clip_picture" --text "a cat")" '^ +-?[01]\.[0-9]+ '

text="What does this picture show?"
tokens=$("$VLM" tokenize "$tiny" "$text" --json)
decoded=$("$VLM" tokenize "$tiny" --decode "$(ids "$tokens")")
holds "tokenize and back" "$decoded" "What does this picture show\?"

shown=$("$VLM" show "$tiny")
holds "show CHECKPOINT names the system" "$shown" 'llava-1\.5'
holds "show CHECKPOINT tells memory" "$shown" 'int4 [0-9]'
holds "show CHECKPOINT tells tokens per picture" "$shown" '[0-9]+ for a picture'
holds "doctor tells the kernels" "$("$VLM" doctor)" '^kernels '
holds "a word that VLM_KERNELS does not know is warned of" "$(VLM_KERNELS=avx512 "$VLM" doctor 2>&1)" 'VLM_KERNELS is "avx512".*off, avx2, avx-vnni and best'

check "quantize" "$VLM" quantize "$tiny" "$scratch/int8" --precision int8
check "quantize, calibrated with pictures" "$VLM" quantize "$cases/qwen2-vl-a/checkpoint" "$scratch/int4" --precision int4 \
  --calibrate "$cases/qwen2-vl-a/media" --calibrate-count 1
delta=$cases/llava-v0-delta-a
check "quantize --base" "$VLM" quantize "$delta/checkpoint" "$scratch/delta-int8" --base "$delta/base"
holds "cache list says where" "$(VLM_CACHE=$scratch/kept "$VLM" cache list)" "$scratch/kept/quantised: empty"
holds "cache list --json" "$(VLM_CACHE=$scratch/kept "$VLM" cache list --json)" '"models": \[\]'
holds "cache clear" "$(VLM_CACHE=$scratch/kept "$VLM" cache clear)" '^0 B freed'
holds "doctor tells what is kept" "$(VLM_CACHE=$scratch/kept "$VLM" doctor)" "^quantised .*$scratch/kept"
check "a quantised checkpoint runs" "$VLM" run "$scratch/int8" --image "$picture" "What?" -n 4
cat > "$scratch/compose.toml" <<END
[vision]
checkpoint = "$cases/siglip-a/checkpoint"
[connector]
type = "perceiver"
tokens = 5
[language]
checkpoint = "$cases/block-phi-a/checkpoint"
END
check "compose" "$VLM" compose "$scratch/compose.toml" "$scratch/composed"
check "a composed model runs" "$VLM" run "$scratch/composed" --image "$picture" "What?" -n 4
holds "show SYSTEM tells sizes" "$("$VLM" show qwen2-vl)" 'Qwen/Qwen2-VL-7B-Instruct .*33\.2 GB'
check "data make" "$VLM" data make "$scratch/scenes" --count 3 --seed 1
check "data make writes pictures" test -s "$scratch/scenes/images/000002.png"
holds "data make writes questions" "$(cat "$scratch/scenes/data.json")" '"conversations"'
finish
