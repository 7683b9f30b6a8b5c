// The decoder of the VQ-VAE (arXiv:2301.02229) whose sixteen code words PaliGemma writes for a mask. Its
// weights are published apart: vae-oid.npz of google-research/big_vision.
//
//   codes_16 --codebook--> 4 x 4 --conv, 2 residual blocks, 4 x double--> 64 x 64, above 0 inside the mask
#pragma once

#include <array>
#include <filesystem>
#include <vector>

#include "tensor/tensor.h"
#include "weights/weights.h"

namespace vlm::paligemma {

class MaskDecoder {
 public:
  static constexpr size_t kCodes = 16;
  static constexpr int64_t kSide = 64;
  static constexpr char kFile[] = "vae-oid.npz";

  explicit MaskDecoder(const std::filesystem::path& npz);
  Tensor operator()(const std::vector<int64_t>& codes) const;  // [64, 64]
  int64_t num_codes() const { return codebook_KE_.size(0); }

 private:
  struct Convolution {
    Tensor weight, bias;
    Tensor operator()(const Tensor& x) const;  // keeps the size
    Tensor twice(const Tensor& x) const;       // doubles it (the weights are of a transposed convolution)
  };
  static Convolution take(const Weights& w, const std::string& name, const Shape& shape, int64_t out);

  Tensor codebook_KE_;
  Convolution enter_, leave_;
  std::vector<std::array<Convolution, 3>> blocks_;
  std::vector<Convolution> doubles_;
};

}  // namespace vlm::paligemma
