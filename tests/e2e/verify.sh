#!/usr/bin/env bash
# verify: its verdicts, and that they can be bad.
source "$(dirname "$0")/lib.sh"
case=$root/tests/cases/llava-1.5-a

good=$("$VLM" verify "$case")
equal "a good case exits with 0" $? 0
holds "a line for each tensor" "$good" '^  logits +error .* tolerance .* ok$'
holds "--json has the verdict" "$("$VLM" verify "$case" --json)" '"passed": true'

cp -r "$case" "$scratch/bad"
sed -i 's/What does this picture show/What did this picture show/' "$scratch/bad/case.json"
bad=$("$VLM" verify "$scratch/bad")
equal "a changed prompt exits with 1" $? 1
holds "the differing place is named" "$bad" 'input_ids .*FAILED'
holds "the verdict counts" "$bad" '^1 of 1 case not reproduced$'

cp -r "$case" "$scratch/unknown"
sed -i 's/"tensor": "logits"/"tensor": "masks"/' "$scratch/unknown/case.json"
unknown=$("$VLM" verify "$scratch/unknown")
equal "a check that cannot be computed exits with 1" $? 1
holds "and says so" "$unknown" 'FAILED'

cp -r "$case" "$scratch/broken"
rm "$scratch/broken/checkpoint/model-00002-of-00002.safetensors"
broken=$("$VLM" verify "$scratch/broken" "$case")
equal "one good case does not hide a bad one" $? 1
holds "the missing shard is named" "$broken" 'model-00002-of-00002\.safetensors'
finish
