#!/usr/bin/env bash
# The installed package: what lies where, and the examples built and run in the tree and against the installation.
#   VLM=build/bin/vlm BUILD=build tests/e2e/api.sh
set -uo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
build=$(realpath "${BUILD:-$root/build}")
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cases=$root/tests/cases
ok=0
bad=0

# check NAME COMMAND...
check() {
  local name=$1
  shift
  if log=$("$@" 2>&1); then
    ok=$((ok + 1))
  else
    bad=$((bad + 1))
    printf 'not ok: %s\n%s\n' "$name" "$log" | tail -n 30
  fi
}

# says TEXT COMMAND...: the output holds TEXT.
says() {
  local text=$1
  shift
  log=$("$@" 2>&1)
  case $log in
    *"$text"*) return 0 ;;
  esac
  printf 'expected: %s\nfound: %s\n' "$text" "$log"
  return 1
}

fails() {
  ! "$@"
}

prefix=$place/prefix
check "install" cmake --install "$build" --prefix "$prefix"
for file in bin/vlm include/vlm/vlm.h include/vlm/capi.h share/man/man1/vlm.1 \
  share/bash-completion/completions/vlm share/zsh/site-functions/_vlm share/fish/vendor_completions.d/vlm.fish; do
  check "installed $file" test -s "$prefix/$file"
done
library=$(find "$prefix" -name 'libvlm.so.0' | head -n 1)
check "installed library" test -s "$library"
check "the installed program runs" "$prefix/bin/vlm" --version
check "the installed program finds its library" "$prefix/bin/vlm" show "$cases/llava-1.5-a/checkpoint"
check "bash reads the completions" bash -n "$prefix/share/bash-completion/completions/vlm"

# Nothing but the public API is visible.
exported() {
  nm -D --defined-only --demangle "$library" | awk '{ $1 = ""; $2 = ""; print substr($0, 3) }' | sort -u
}
check "exports C" says vlm_model_load exported
check "exports C++" says "vlm::v0::Model::load" exported
foreign() {
  exported | grep -Ev '^vlm_|vlm::v0::|vlm::(Error|kind_name)'
}
check "exports nothing else" fails foreign

# Programs of a sanitized library bring the sanitizers' runtime.
sanitizers=$(sed -n 's/^VLM_SANITIZE:[A-Z]*=//p' "$build/CMakeCache.txt")
flags=${sanitizers:+-fsanitize=$sanitizers}
check "configure examples" cmake -S "$root/examples" -B "$place/examples" -DCMAKE_PREFIX_PATH="$prefix" \
  -DCMAKE_BUILD_TYPE=Release -DCMAKE_C_FLAGS="$flags" -DCMAKE_CXX_FLAGS="$flags"
check "build examples" cmake --build "$place/examples"
if command -v pkg-config > /dev/null; then
  export PKG_CONFIG_PATH
  PKG_CONFIG_PATH=$(dirname "$library")/pkgconfig
  check "pkg-config" sh -c "\${CC:-cc} $root/examples/compare.c \$(pkg-config --cflags --libs vlm) -o $place/compare"
fi

picture=$cases/llava-1.5-a/media/a.png
for folder in "$build/bin" "$place/examples"; do
  check "ask in $folder" says "(llava-1.5: " "$folder/example_ask" "$cases/llava-1.5-a/checkpoint" "$picture" \
    "What does this picture show?" "Why?"
  check "compare in $folder" says " %  a cat" "$folder/example_compare" "$cases/clip-a/checkpoint" "$picture" \
    "a cat" "two dogs"
  check "error of $folder/example_ask" says "unsupported: clip does not generate text" \
    "$folder/example_ask" "$cases/clip-a/checkpoint" "$picture" "What?"
  check "error of $folder/example_compare" says "hint: get it with: vlm pull no-such-org/model" \
    "$folder/example_compare" no-such-org/model "$picture" "a cat"
  check "exit status of $folder/example_compare" fails "$folder/example_compare" no-such-org/model "$picture" a
done
# Same library, same answer.
same() {
  cmp <("$build/bin/example_ask" "$@") <("$place/examples/example_ask" "$@")
}
check "the same answer" same "$cases/llava-1.5-a/checkpoint" "$picture" "What does this picture show?"

[ "$bad" -eq 0 ] && { echo "$ok ok"; exit 0; }
echo "$bad not ok"
exit 1
