#!/usr/bin/env bash
# The demo: an answer and a picture for each question.
source "$(dirname "$0")/lib.sh"

# A tiny checkpoint in the default model's place: the answers are nonsense, but they come.
mkdir "$scratch/assets"
cp -r "$tiny" "$scratch/assets/default"
out=$(VLM_ASSETS=$scratch/assets "$root/tools/demo.sh" "$VLM" "$scratch/demo" 2>&1)
equal "with a model: exit code" $? 0
questions=$(grep -vc '^#' "$root/assets/samples/questions.tsv")
equal "an answer for each question" "$(grep -c '^  A: ' <<< "$out")" "$questions"
equal "a picture for each answer" "$(ls "$scratch/demo" | wc -l)" "$questions"
finish
