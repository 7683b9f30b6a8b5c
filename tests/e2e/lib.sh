# What the end-to-end scripts share: source it first, call `finish` last.
# VLM: the program. Every check prints "ok - what" or "not ok - what"; the last line counts them.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
VLM=${VLM:-$root/build/bin/vlm}
tiny=$root/tests/cases/llava-1.5-a/checkpoint
picture=$root/tests/cases/llava-1.5-a/media/a.png
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
passed=0
failed=0

# check WHAT COMMAND...: the command succeeds.
check() {
  local what=$1 log
  shift
  if log=$("$@" 2>&1); then
    echo "ok - $what"
    passed=$((passed + 1))
  else
    echo "not ok - $what"
    printf '%s\n' "$log" | head -n 20 | sed 's/^/    /'
    failed=$((failed + 1))
  fi
}

# equal WHAT FOUND EXPECTED
equal() {
  if [ "$2" = "$3" ]; then
    check "$1" true
  else
    check "$1" false
    printf '    found:    %s\n    expected: %s\n' "$2" "$3"
  fi
}

# holds WHAT TEXT PATTERN: the text has a line that matches the extended regular expression.
holds() {
  check "$1" grep -qE -- "$3" <<< "$2"
  grep -qE -- "$3" <<< "$2" || printf '    %s\n' "$2" | head -n 20
}

finish() {
  if [ "$failed" -gt 0 ]; then
    echo "$failed not ok"
    exit 1
  fi
  echo "$passed ok"
}
