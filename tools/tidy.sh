#!/usr/bin/env bash
# clang-tidy over the given sources, or over those that differ from what was pushed.
#   tools/tidy.sh [FILE.cc...]
# clang reads LibTorch's headers once, as a precompiled header; without that each file takes half a minute.
set -uo pipefail
cd "$(dirname "$0")/.."
build=build-tidy
mkdir -p "$build"
files=("$@")
if [ ${#files[@]} -eq 0 ]; then
  base=$(git merge-base HEAD '@{upstream}' 2> /dev/null || git rev-parse HEAD)
  mapfile -t files < <(git diff --name-only --diff-filter=d "$base" -- 'src/*.cc' 'tests/*.cc' 'tools/*.cc')
fi
[ ${#files[@]} -gt 0 ] || { echo "tidy: nothing changed"; exit 0; }

packages="vips cairo libpcre2-8 libutf8proc libavformat libavcodec libavutil libswscale"
flags="-std=c++20 -march=x86-64-v3 -fopenmp=libgomp -DFMT_SHARED -Isrc -Iinclude -isystem /usr/include/torch/csrc/api/include $(pkg-config --cflags $packages)"
header=$build/aten.h
printf '#define VLM_SOURCE_DIR ""\n#define VLM_VERSION ""\n#include "%s/tests/fuzz/clang_prelude.h"\n#include <ATen/ATen.h>\n' "$PWD" > "$header.new"
cmp -s "$header.new" "$header" || mv "$header.new" "$header"
rm -f "$header.new"
[ "$header.pch" -nt "$header" ] || clang++ $flags -w -x c++-header "$header" -o "$header.pch" || exit 1

printf '%s\0' "${files[@]}" |
  xargs -0 -n1 -P"${JOBS:-$(nproc)}" sh -c "clang-tidy --quiet \"\$0\" -- $flags -include-pch $header.pch 2> /dev/null || exit 255" || {
  echo "tidy: see above"
  exit 1
}
echo "tidy: ${#files[@]} files, all good"
