// The tensors of llama.cpp's GGUF files under the names and in the order of the checkpoints they were
// converted from. ref: https://github.com/ggml-org/llama.cpp convert_hf_to_gguf.py,
// gguf-py/gguf/tensor_mapping.py
#pragma once

#include <memory>

#include "weights/gguf.h"

namespace vlm {

// By general.architecture: language models as transformers names them (llama, which stands for Mistral and
// Mixtral too, qwen2, gemma, phi2, stablelm, gptneox), and "clip", the tower and projector of LLaVA, as its
// authors name them. Throws unsupported for others, bad_checkpoint for tensors that have no place there.
std::shared_ptr<const TensorSource> published_gguf(std::shared_ptr<const GgufFile> file);

}  // namespace vlm
