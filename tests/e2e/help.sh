#!/usr/bin/env bash
# Help, list and show answer at once and say what they should.
source "$(dirname "$0")/lib.sh"

commands=$("$VLM" --help | sed -n '/^Commands:/,/^$/s/^  \([a-z]*\) .*/\1/p')
holds "--help lists the commands" "$commands" '^run$'
for command in $commands; do
  holds "$command --help has an example" "$("$VLM" "$command" --help)" '^Example:$'
done
holds "data make --help has an example" "$("$VLM" data make --help)" 'vlm data make'
holds "help COMMAND is COMMAND --help" "$("$VLM" help run)" '^  vlm run MODEL'

equal "list --json has all systems" "$("$VLM" list --json | grep -c '"slug":')" 70
holds "list tells what works" "$("$VLM" list)" 'works \([0-9]+ cases?\)'
holds "list takes words" "$("$VLM" list dual-tower)" 'siglip'
holds "show SYSTEM is its card" "$("$VLM" show llava-1.5)" 'arxiv|arXiv'
holds "show takes any case" "$("$VLM" show LLaVA-1.5)" 'LLaVA'
equal "no escape codes in a pipe" "$("$VLM" list | grep -c $'\033')" 0
holds "colour when asked for" "$("$VLM" list --color always)" $'\033'
equal "a closed pipe is no error" "$("$VLM" list 2>&1 | head -n 1 | wc -l)" 1

# 50 ms, the best of five: other programs may be at work.
for words in "--help" "list" "show llava-1.5"; do
  best=999999
  for attempt in 1 2 3 4 5; do
    begin=$(date +%s%N)
    # shellcheck disable=SC2086
    "$VLM" $words > "$scratch/out"
    took=$((($(date +%s%N) - begin) / 1000))
    [ "$took" -lt "$best" ] && best=$took
  done
  check "vlm $words within 50 ms ($best us)" [ "$best" -lt 50000 ]
done

check "bash completions are bash" bash -n <("$VLM" completions bash)
holds "the manual page names run" "$("$VLM" manual)" '^\.SS vlm run'
finish
