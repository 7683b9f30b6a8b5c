#!/usr/bin/env bash
# The default model answers questions about the sample pictures; each answer is written below its picture.
#   tools/demo.sh [VLM] [FOLDER]        the program (build/vlm), the folder for the pictures (demo-out)
set -uo pipefail
cd "$(dirname "$0")/.."
vlm=${1:-build/vlm}
folder=${2:-demo-out}

if ! "$vlm" show default > /dev/null 2> "${TMPDIR:-/tmp}/vlm-demo.$$"; then
  echo "The default model is not there yet: it belongs into assets/default (or \$VLM_ASSETS/default)." >&2
  cat "${TMPDIR:-/tmp}/vlm-demo.$$" >&2
  rm -f "${TMPDIR:-/tmp}/vlm-demo.$$"
  echo "Any other checkpoint works as well: $vlm run FOLDER --image assets/samples/shapes.png \"What is this?\"" >&2
  exit 2
fi
rm -f "${TMPDIR:-/tmp}/vlm-demo.$$"
mkdir -p "$folder" || exit 4

# assets/samples/questions.tsv: picture, question and true answer, separated by tabs.
status=0
begin=$(date +%s)
count=0
right=0
while IFS=$'\t' read -r picture question truth; do
  case $picture in '' | '#'*) continue ;; esac
  count=$((count + 1))
  out=$folder/${picture%.png}-$count.png
  printf '%s\n  Q: %s\n' "assets/samples/$picture" "$question"
  answer=$("$vlm" run default --image "assets/samples/$picture" "$question" --max-new-tokens 64 --picture "$out") || status=$?
  if [ "$answer" = "$truth" ]; then
    right=$((right + 1))
    printf '  A: %s\n' "$answer"
  else
    printf '  A: %s   (in truth: %s)\n' "$answer" "$truth"
  fi
done < assets/samples/questions.tsv
echo
echo "$count answers, $right of them word for word the true ones, in $(($(date +%s) - begin)) s"
echo "The pictures with question and answer: $folder/"
exit "$status"
