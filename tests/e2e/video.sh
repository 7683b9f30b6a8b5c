#!/usr/bin/env bash
# Videos on the command line and in a chat; weights that are added to others.
source "$(dirname "$0")/lib.sh"
cases=$root/tests/cases
clip=$cases/slowfast-llava-a/media/a.mkv
flat() { tr -d ' \n' <<< "$1"; }

slowfast() { "$VLM" run "$cases/slowfast-llava-a/checkpoint" --system slowfast-llava --video "$clip" "What happens?" "$@"; }
found=$(flat "$(slowfast -n 10 --json)")
holds "a video file gives the reference's answer" "$found" '"ids":\[284,371,55,215,87,177,280,276,284,371\]'
holds "50 of its frames are watched" "$found" '"prompt_tokens":1309'

onevision=$cases/llava-onevision-authors-video-a
found=$(flat "$("$VLM" run "$onevision/checkpoint" --video "$onevision/media" -n 4 "What happens?" --json)")
holds "a folder of frames is a video" "$found" '"completion_tokens":[0-9]'
tokens=$(grep -oE '"prompt_tokens":[0-9]+' <<< "$found" | grep -oE '[0-9]+$')
check "its 32 frames have 4 tokens each" test "$tokens" -gt $((32 * 4))

said=$(printf '/video %s\nWhat happens?\n/save %s\n/quit\n' "$clip" "$scratch/talk.json" |
  "$VLM" chat "$onevision/checkpoint" -n 4 2>&1)
holds "/video tells the number of frames" "$said" ': 53 frames, goes with the next question'
holds "a chat is saved with its videos" "$(cat "$scratch/talk.json")" '"path": ".*a\.mkv"'
holds "/video needs a name" "$(printf '/video\n' | "$VLM" chat "$onevision/checkpoint" 2>&1)" 'write /video FILE'

delta=$cases/llava-v0-delta-a
found=$(flat "$("$VLM" run "$delta/checkpoint" --base "$delta/base" --image "$delta/media/a.png" -n 4 "What is this?" --json)")
holds "delta weights are added to their base" "$found" '"system":"llava"'

finish
