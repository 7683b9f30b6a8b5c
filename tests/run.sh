#!/usr/bin/env bash
# Builds and runs every test, fast ones first. The last line is "N passed, N failed".
#   tests/run.sh [BUILD FOLDER]
set -uo pipefail
cd "$(dirname "$0")/.."
build=$(realpath -m "${1:-build}")
passed=0
failed=0

cmake --build "$build" --parallel "$(nproc)" || { echo "the build failed"; echo "0 passed, 1 failed"; exit 1; }

# --- unit tests and reference cases (GoogleTest)
while read -r program; do
  echo "== $program"
  log=$("$build/bin/$program" --gtest_brief=1 2>&1)
  status=$?
  ok=$(sed -n 's/^\[  PASSED  \] \([0-9]*\) test.*/\1/p' <<< "$log")
  bad=$(sed -n 's/^ *\([0-9]*\) FAILED TEST.*/\1/p' <<< "$log")
  passed=$((passed + ${ok:-0}))
  if [ "$status" -ne 0 ]; then
    printf '%s\n' "$log" | tail -n 80
    failed=$((failed + ${bad:-1}))
  fi
done < "$build/unit_tests.txt"

# --- what the fuzzers keep
while read -r target; do
  echo "== $target corpus"
  if log=$("$build/bin/${target}_replay" "tests/fuzz/corpus/$target" 2>&1); then
    passed=$((passed + 1))
  else
    printf '%s\n' "$log" | tail -n 40
    failed=$((failed + 1))
  fi
done < "$build/replays.txt"

# --- the kernels on ARM, where there is a cross compiler
echo "== tests/arm.sh"
if log=$(bash tests/arm.sh "$build-arm" 2>&1); then
  while read -r count; do passed=$((passed + count)); done < <(sed -n 's/^\[  PASSED  \] \([0-9]*\) test.*/\1/p' <<< "$log")
  grep '^skipped' <<< "$log"
else
  printf '%s\n' "$log" | tail -n 60
  failed=$((failed + 1))
fi

# --- the program as users meet it
for script in tests/e2e/*.sh; do
  [ -e "$script" ] && [ "$(basename "$script")" != lib.sh ] || continue
  echo "== $script"
  if log=$(VLM="$build/bin/vlm" BUILD="$build" bash "$script" 2>&1); then
    count=$(sed -n 's/^\([0-9]*\) ok$/\1/p' <<< "$log" | tail -n 1)
    passed=$((passed + ${count:-1}))
  else
    printf '%s\n' "$log" | tail -n 60
    count=$(sed -n 's/^\([0-9]*\) not ok$/\1/p' <<< "$log" | tail -n 1)
    failed=$((failed + ${count:-1}))
  fi
done

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
