#!/usr/bin/env bash
# vlm bench measures checkpoints and made-up shapes; figures themselves are no matter of tests.
source "$(dirname "$0")/lib.sh"
quick=(--repeat 1 --new-tokens 2 --batch 1,2 --context 8 --prompt-tokens 24 --picture 64x48)

shown=$("$VLM" bench "$tiny" --precision int8,torch "${quick[@]}" --stages encode,prefill,first-token,decode)
holds "bench tells the roofs" "$shown" '^roofs: float32 [0-9]+ GFLOP/s.* read [0-9.]+ GB/s'
for stage in load encode prefill first-token decode; do
  holds "bench has the stage $stage" "$shown" "^$stage .* (ms|s) "
done
holds "a share of the roof" "$shown" '[0-9]+ % of (products|reading)$'
holds "both precisions" "$shown" ', torch$'
holds "--profile tells where the time goes" \
  "$("$VLM" bench "$tiny" --precision int8 "${quick[@]}" --stages prefill --profile)" '(^| )products [0-9]+ %'

json=$("$VLM" bench "$tiny" --precision int4 "${quick[@]}" --stages decode --neighbour --json)
holds "--json has the commit" "$json" '"commit": "'
holds "--json has the roofs" "$json" '"read_gbps": [0-9]'
equal "--neighbour doubles the decoding rows" "$(grep -c '"stage": "decode"' <<< "$json")" 4
holds "--json counts what was read" "$json" '"bytes": [1-9]'

echo "$json" > "$scratch/a.json"
check "bench/compare takes results" "$root/bench/compare" "$scratch/a.json" "$scratch/a.json"
sed 's/"seconds": \[/"seconds": [9,9,9,9,9,9,9,/' "$scratch/a.json" > "$scratch/b.json"
holds "bench/compare finds what is slower" "$("$root/bench/compare" "$scratch/a.json" "$scratch/b.json")" 'BEYOND THE GATE'

holds "an encoder is measured by pictures" \
  "$("$VLM" bench "$root/tests/cases/clip-a/checkpoint" --stages picture,encode "${quick[@]}")" '^encode .*pictures/s'
holds "--shapes makes weights up" \
  "$("$VLM" bench --shapes siglip/siglip-base-patch16-224 --stages encode "${quick[@]}" --batch 1)" '^encode +a picture of 224 x 224'
holds "--layers says what was cut" \
  "$("$VLM" bench --shapes tinyllama-1.1b --layers 1 --stages prefill "${quick[@]}")" '1 of 22 layers'
holds "unknown shapes get a hint" "$("$VLM" bench --shapes llava-1.55 2>&1)" 'did you mean llava-1.5'
holds "a model or shapes, not both" "$("$VLM" bench 2>&1)" 'name a model or --shapes'
holds "a picture has a size" "$("$VLM" bench "$tiny" --picture huge 2>&1)" 'give width and height'
finish
