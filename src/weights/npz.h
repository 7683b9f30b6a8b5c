#pragma once

#include <filesystem>
#include <memory>

#include "weights/source.h"

namespace vlm {

// numpy's archive of arrays (.npz): a zip of .npy files, named without their ending. Numbers in little-endian
// order and rows first; throws unsupported for other arrays, bad_checkpoint for a damaged file.
// ref: numpy.lib.format
std::shared_ptr<const TensorSource> open_npz(const std::filesystem::path& file);

}  // namespace vlm
