// Writes docs/sizes.md and src/app/cli/sizes_table.cc from the names and shapes of manifests/:
//
//   build/bin/published_sizes SOURCE_FOLDER
#include "system/published_sizes.h"

#include <cstdio>

#include "base/files.h"

int main(int argc, char** argv) {
  if (argc != 2) return std::fputs("usage: published_sizes SOURCE_FOLDER\n", stderr), 2;
  try {
    std::filesystem::path source = argv[1];
    std::vector<vlm::PublishedSize> sizes = vlm::read_published_sizes(source / "manifests");
    vlm::write_text(source / "docs" / "sizes.md", vlm::sizes_page(sizes));
    vlm::write_text(source / "src" / "app" / "cli" / "sizes_table.cc", vlm::sizes_table(sizes));
    return 0;
  } catch (const std::exception& error) {
    return std::fprintf(stderr, "%s\n", error.what()), 1;
  }
}
