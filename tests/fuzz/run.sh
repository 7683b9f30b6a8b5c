#!/usr/bin/env bash
# Fuzzes every parser under AddressSanitizer and UndefinedBehaviorSanitizer with clang's libFuzzer, and the kernels: they are compared
# with plain loops on every instruction set of this machine (src/kernels/fuzzing.h).
#   tests/fuzz/run.sh [SECONDS FOR EACH, 60] [TARGET...]
# Starts from tests/fuzz/corpus/<target>; what was found lies in build-fuzz/<target>/. Inputs that crashed are written there as
# crash-*: add them to the corpus with the fix, so that `make test` replays them.
set -euo pipefail
cd "$(dirname "$0")/../.."
seconds=${1:-60}
shift || true
targets=("${@:-}")
[ -n "${targets[0]}" ] || targets=($(ls src/*/*_fuzz.cc | xargs -n1 basename | sed 's/_fuzz.cc//'))
compiler=${CLANG:-clang++}
build=build-fuzz
mkdir -p "$build"

# clang cannot compile LibTorch 1.13's headers as C++20 with GCC 12's library; tests/fuzz/clang_prelude.h says why and mends it.
flags="-std=c++20 -include tests/fuzz/clang_prelude.h -O1 -g1 -w -fopenmp=libgomp -DFMT_SHARED -DHWY_SHARED_DEFINE -fno-sanitize-recover=all
  -Isrc -Iinclude -isystem /usr/include/torch/csrc/api/include $(pkg-config --cflags vips cairo libpcre2-8 libutf8proc libavformat libavcodec libavutil libswscale)"
libraries="-ltorch_cpu -lc10 -lfmt -lz -lgomp -lhwy $(pkg-config --libs vips cairo libpcre2-8 libutf8proc libavformat libavcodec libavutil libswscale) -ljpeg -lavif"

newest=$(ls -t src/*/*.h include/*/*.h | head -n 1)
objects=()
: > "$build/todo"
for source in src/{base,tensor,media,text,weights}/*.cc src/kernels/*.cc; do
  [[ $source =~ _(test|bench|fuzz)\.cc$ ]] && continue
  object=$build/$(echo "${source#src/}" | tr / _).o
  objects+=("$object")
  [ "$object" -nt "$source" ] && [ "$object" -nt "$newest" ] || printf '%s\0%s\0' "$source" "$object" >> "$build/todo"
done
xargs -0 -r -n2 -P"$(nproc)" sh -c "$compiler ${flags//$'\n'/ } -fsanitize=address,undefined,fuzzer-no-link -c \$0 -o \$1" < "$build/todo"

status=0
for target in "${targets[@]}"; do
  source=$(ls src/*/"${target}"_fuzz.cc)
  $compiler $flags -fsanitize=address,undefined,fuzzer "$source" "${objects[@]}" $libraries -o "$build/${target}_fuzz"
  mkdir -p "$build/$target" "tests/fuzz/corpus/$target"
  echo "== $target, $seconds s"
  # Leaks of libraries at exit are theirs; a target that leaks grows past the memory limit.
  ASAN_OPTIONS=detect_leaks=0 "$build/${target}_fuzz" -max_total_time="$seconds" -rss_limit_mb=3000 -timeout=20 -print_final_stats=1 \
    -artifact_prefix="$build/$target/" "$build/$target" "tests/fuzz/corpus/$target" > "$build/$target.log" 2>&1 || status=1
  grep -E 'stat::number_of_executed_units|ERROR|SUMMARY|crash-|timeout-|oom-' "$build/$target.log" || true
done
exit $status
