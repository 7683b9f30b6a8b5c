#!/usr/bin/env bash
# Wrong inputs, by message: tests/errors/*.txt. Each entry is
#   $ the command line behind `vlm`, in shell words; {scratch}, {tiny}, {picture}, {cases}, {errors} are filled in
#   ? the exit code
#   regular expressions, one a line, that standard error must match
# Standard error must be short: one line of message (a report may be longer) and a hint.
source "$(dirname "$0")/lib.sh"
export HF_HOME=$scratch/hub VLM_ASSETS=$scratch/none

# --- what the entries need
: > "$scratch/empty.png"
head -c 200 "$picture" > "$scratch/cut.png"
echo "this is text" > "$scratch/text.png"
copy() { cp -r "$tiny" "$scratch/$1"; }
copy no-config && rm "$scratch/no-config/config.json"
copy no-shard && rm "$scratch/no-shard/model-00002-of-00002.safetensors"
copy cut-shard && truncate -s -1000 "$scratch/cut-shard/model-00002-of-00002.safetensors"
copy no-tokenizer && rm "$scratch"/no-tokenizer/tokenizer*
copy bad-json && echo '{"architectures": [' > "$scratch/bad-json/config.json"
copy absurd && sed -i 's/"hidden_size": [0-9]*/"hidden_size": 9000000000000/' "$scratch/absurd/config.json"
copy negative && sed -i 's/"num_hidden_layers": [0-9]*/"num_hidden_layers": -3/' "$scratch/negative/config.json"
copy other && cp "$root/tests/cases/clip-a/checkpoint/config.json" "$scratch/other/config.json"
copy tiny-delta-v0
copy unknown && sed -i 's/LlavaForConditionalGeneration/NobodysModel/; s/"model_type": "llava"/"model_type": "nobody"/' "$scratch/unknown/config.json"
cp -r "$root/tests/cases/instructblip-t5-a/checkpoint" "$scratch/no-qformer" && rm -r "$scratch/no-qformer/qformer_tokenizer"
cp -r "$root/tests/cases/blip-caption-a/checkpoint" "$scratch/no-preprocessor" && rm "$scratch/no-preprocessor/preprocessor_config.json"
mkdir -p "$scratch/no-cases" "$scratch/full"

run_entry() {
  local file=$1 line=$2 command=$3 code=$4 found status words
  shift 4
  command=${command//\{scratch\}/$scratch}
  command=${command//\{tiny\}/$tiny}
  command=${command//\{picture\}/$picture}
  command=${command//\{cases\}/$root/tests/cases}
  command=${command//\{errors\}/$root/tests/errors}
  eval "words=($command)"
  found=$(timeout 120 "$VLM" "${words[@]}" 2>&1 > "$scratch/out" < /dev/null)
  status=$?
  local what
  what="$(basename "$file"):$line vlm ${command//$scratch\//}"
  what=${what//$root\//}
  if ! [[ $status =~ ^$code$ ]]; then
    check "$what" false
    echo "    exit code $status, expected $code; standard error:"
    sed 's/^/    /' <<< "$found" | head -n 8
    return
  fi
  for pattern in "$@"; do
    if ! grep -qE -- "$pattern" <<< "$found"; then
      check "$what" false
      echo "    no line matches: $pattern"
      sed 's/^/    /' <<< "$found" | head -n 8
      return
    fi
  done
  check "$what" true
}

for file in "$root"/tests/errors/*.txt; do
  command= code= patterns=() line=0 begin=0
  while IFS= read -r text || [ -n "$text" ]; do
    line=$((line + 1))
    case $text in
      '$ '*) command=${text#'$ '}; begin=$line; patterns=() ;;
      '? '*) code=${text#'? '} ;;
      '#'*) ;;
      '') if [ -n "$command" ]; then run_entry "$file" "$begin" "$command" "$code" "${patterns[@]}"; fi; command= ;;
      *) patterns+=("$text") ;;
    esac
  done < <(cat "$file"; echo)
done

# A disk that fills up while saving.
if [ -w /dev/full ]; then
  found=$("$VLM" list 2>&1 > /dev/full)
  equal "a full disk behind standard output: exit code" $? 4
  holds "a full disk behind standard output: message" "$found" 'standard output cannot be written'
fi
found=$(ulimit -f 8; trap '' XFSZ; "$VLM" quantize "$tiny" "$scratch/too-large" 2>&1)
equal "no room for a checkpoint: exit code" $? 4
holds "no room for a checkpoint: message" "$found" 'cannot be written'
equal "no room for a checkpoint: nothing half-written stays" "$(ls -d "$scratch"/too-large* 2> /dev/null | wc -l)" 0
finish
