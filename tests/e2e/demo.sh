#!/usr/bin/env bash
# The demo: its answers with a model, its message without one.
source "$(dirname "$0")/lib.sh"

out=$(VLM_ASSETS=$scratch/none "$root/tools/demo.sh" "$VLM" "$scratch/demo" 2>&1)
equal "without the default model: exit code" $? 2
holds "without the default model: message" "$out" 'default model is not there yet'

# A tiny checkpoint in the default model's place: the answers are nonsense, but they come.
mkdir "$scratch/assets"
cp -r "$tiny" "$scratch/assets/default"
out=$(VLM_ASSETS=$scratch/assets "$root/tools/demo.sh" "$VLM" "$scratch/demo" 2>&1)
equal "with a model: exit code" $? 0
questions=$(grep -vc '^#' "$root/assets/samples/questions.tsv")
equal "an answer for each question" "$(grep -c '^  A: ' <<< "$out")" "$questions"
equal "a picture for each answer" "$(ls "$scratch/demo" | wc -l)" "$questions"
finish
