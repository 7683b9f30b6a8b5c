#include "models/paligemma/mask_decoder.h"

#include "weights/npz.h"

namespace vlm::paligemma {

MaskDecoder::Convolution MaskDecoder::take(const Weights& w, const std::string& name, const Shape& shape,
                                           int64_t out) {
  return {w.take(name + ".weight", shape), w.take(name + ".bias", {out})};
}

Tensor MaskDecoder::Convolution::operator()(const Tensor& x) const {
  int64_t padding = weight.size(-1) / 2;
  return at::conv2d(x, weight, bias, {1, 1}, {padding, padding});
}

Tensor MaskDecoder::Convolution::twice(const Tensor& x) const {
  return at::conv_transpose2d(x, weight, bias, {2, 2}, {1, 1});
}

MaskDecoder::MaskDecoder(const std::filesystem::path& npz) {
  Weights w(open_npz(npz), {});
  Shape codebook = w.stored_shape("_vq_vae._embedding").value_or(Shape{128, 512});
  Shape first = w.stored_shape("decoder.0.weight").value_or(Shape{128, 512, 1, 1});
  if (codebook.size() != 2 || first.size() != 4 || first[0] < 8)
    fail(ErrorKind::bad_checkpoint, "get the published file again",
         "{}: a codebook of shape {}, a first layer of {}", npz.string(), shape_text(codebook),
         shape_text(first));
  int64_t width = first[0];
  codebook_KE_ = w.take("_vq_vae._embedding", codebook);
  enter_ = take(w, "decoder.0", {width, codebook[1], 1, 1}, width);
  for (const char* block : {"decoder.2.net.", "decoder.3.net."})
    blocks_.push_back({take(w, std::string(block) + "0", {width, width, 3, 3}, width),
                       take(w, std::string(block) + "2", {width, width, 3, 3}, width),
                       take(w, std::string(block) + "4", {width, width, 1, 1}, width)});
  int64_t in = width, out = width;
  for (const char* name : {"decoder.4", "decoder.6", "decoder.8", "decoder.10"}) {
    doubles_.push_back(take(w, name, {in, out, 4, 4}, out));
    in = out, out /= 2;
  }
  leave_ = take(w, "decoder.12", {1, in, 1, 1}, 1);
  w.ignore_unused_below();  // the encoder's half
  w.finish("the mask decoder of paligemma");
}

Tensor MaskDecoder::operator()(const std::vector<int64_t>& codes) const {
  VLM_CHECK(codes.size() == kCodes, "{} codes", codes.size());
  Tensor x = codebook_KE_.index_select(0, ids_tensor(codes)).t().reshape({1, -1, 4, 4});
  x = at::relu(enter_(x));
  for (const auto& block : blocks_) x = x + block[2](at::relu(block[1](at::relu(block[0](x)))));
  for (const Convolution& step : doubles_) x = at::relu(step.twice(x));
  return leave_(x).view({kSide, kSide});
}

}  // namespace vlm::paligemma
