// The zip format as far as torch.save uses it: stored or deflated entries, also of more than 4 GB; read in
// place. ref: PKWARE APPNOTE 6.3.10
#pragma once

#include <map>
#include <string>

#include "weights/source_bytes.h"

namespace vlm {

class ZipArchive {
 public:
  explicit ZipArchive(FileBytes file);  // checks the directory; throws bad_checkpoint

  struct Entry {
    uint64_t begin = 0;  // of the data in the file
    uint64_t packed_bytes = 0;
    uint64_t bytes = 0;
    bool is_deflated = false;
  };
  const std::map<std::string, Entry>& entries() const { return entries_; }
  FileBytes read(const std::string& name) const;  // shares the file unless the entry is deflated

 private:
  void read_entry(ByteReader& directory);
  Entry locate(const std::string& name, uint64_t header, Entry entry) const;

  FileBytes file_;
  std::map<std::string, Entry> entries_;
};

}  // namespace vlm
