#!/usr/bin/env bash
# Places: what answers point at, what questions speak of, and what is drawn.
source "$(dirname "$0")/lib.sh"
cases=$root/tests/cases
flat() { tr -d ' \n' <<< "$1"; }

florence() { # CASE TASK ARGUMENTS...
  local case=$1 task=$2
  shift 2
  "$VLM" run "$cases/florence-2-$case-a/checkpoint" --image "$cases/florence-2-$case-a/media/a.png" --task "$task" -n 40 "$@"
}

found=$(flat "$(florence od "<OD>" --json)")
holds "--json has labels" "$found" '"label":"dog"'
holds "--json has boxes in pixels" "$found" '"box":\[7\.63[0-9]*,33\.61[0-9]*,126\.7[0-9]*,69\.88[0-9]*\]'
holds "--json has the text without notation" "$found" '"text":"dog,model,model"'
holds "--json has the usage" "$found" '"usage":\{"prompt_tokens":[0-9]+,"completion_tokens":[0-9]+,"total_tokens":[0-9]+,"completion_tokens_details":\{"accepted_prediction_tokens":0,"rejected_prediction_tokens":0\}\}'
holds "--json has a list of calls" "$found" '"calls":\[\]'
holds "a task may be named without its brackets" "$(florence od od)" '^dog  box 8 34 127 70$'
holds "text lines" "$(florence ocr "<OCR_WITH_REGION>")" '^STOP sign  corners '
holds "polygons have parts" "$(florence open "<OPEN_VOCABULARY_DETECTION>" dog)" '^dog  polygon of 3 corners and 1 more$'
holds "a box as input" "$(florence region "<REGION_TO_SEGMENTATION>" --box 12.5,8,90.25,70.9)" '^polygon of 4 corners$'
holds "words for a box" "$(florence category "<REGION_TO_CATEGORY>" --box 0,0,50.5,80)" '.'

kosmos=$cases/kosmos-2-a
found=$(flat "$("$VLM" run "$kosmos/checkpoint" --image "$kosmos/media/a.png" "<grounding> An image of" -n 40 --json)")
holds "phrases have spans" "$found" '"span":\[12,17\]'

gemma=$cases/paligemma-mask-a
found=$(flat "$("$VLM" run "$gemma/checkpoint" --image "$gemma/media/a.png" "segment cat ; dog" -n 60 --json)")
holds "masks are run lengths of the picture's size" "$found" '"mask":\{"size":\[97,150\],"counts":\[[0-9]+,'
runs=$(grep -oE '"counts":\[[0-9,]*\]' <<< "$found" | head -n 1 | grep -oE '[0-9]+' | paste -sd+)
equal "run lengths add up to the picture" $((runs)) $((97 * 150))

# Notation never reaches people, neither streamed nor in a conversation.
said() { "$VLM" chat "$1/checkpoint" --image "$1/media/a.png" -n "$2" <<< "$3"; }
found=$(said "$gemma" 60 "segment cat ; dog")
holds "chat prints regions" "$found" '^[a-z]+  .*box [0-9-]+ [0-9-]+ [0-9-]+ [0-9-]+'
equal "chat prints what run prints" "$found" "$("$VLM" run "$gemma/checkpoint" --image "$gemma/media/a.png" "segment cat ; dog" -n 60)"
check "chat prints no notation" bash -c "! grep -qE '<loc|<seg' <<< '$found'"
found=$(said "$kosmos" 40 "<grounding> An image of")
equal "phrases are told as they come" "$found" "$("$VLM" run "$kosmos/checkpoint" --image "$kosmos/media/a.png" "<grounding> An image of" -n 40)"
check "phrases come without their tags" bash -c "! grep -qE '<phrase|<object' <<< '$found'"

check "--annotate draws" florence od "<OD>" --annotate "$scratch/boxes.png"
equal "what it drew is a PNG" "$(head -c 4 "$scratch/boxes.png" | tail -c 3)" "PNG"
check "masks are drawn" "$VLM" run "$gemma/checkpoint" --image "$gemma/media/a.png" "segment cat ; dog" -n 60 --annotate "$scratch/masks.jpg"
check "the drawn picture differs" bash -c "! cmp -s '$scratch/boxes.png' '$cases/florence-2-od-a/media/a.png'"

refusal() { florence "$@" 2>&1 > "$scratch/out"; }
holds "an unknown task is refused with the known ones" "$(refusal od "<SING>")" 'known: <CAPTION>, .*<REGION_TO_OCR>'
holds "a task without a place is refused" "$(refusal od "<REGION_TO_OCR>")" 'asks about something that was not given'
holds "a box that is none is refused" "$(refusal region "<REGION_TO_OCR>" --box 90,8,12,70)" 'is not a box'
holds "a point that is none is refused" "$(refusal region "<REGION_TO_OCR>" --point 1,2,3)" 'is not a point'
holds "a mask of another size is refused" \
  "$(refusal od "<OD>" --mask "$picture")" 'the mask has [0-9]+ x [0-9]+ pixels, the picture 140 x 90'
finish
