#include "ops/attention_gradient.h"

#include <torch/csrc/autograd/custom_function.h>

#include "kernels/attention_gradient.h"
#include "kernels/factors.h"
#include "ops/choose.h"
#include "tensor/result.h"
#include "tensor/tally.h"

namespace vlm::ops {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

void copy_strides(const Tensor& tensor, int64_t (&strides)[3]) {
  for (int64_t axis = 0; axis < 3; ++axis) strides[axis] = tensor.stride(axis);
}

// [B, S, A, E], each head's own share -> [B, S, G, E]
Tensor sum_of_heads(const Tensor& shares_BSAE, int64_t groups) {
  int64_t heads = shares_BSAE.size(2);
  return heads == groups ? shares_BSAE : shares_BSAE.unflatten(2, {groups, heads / groups}).sum(3);
}

class FusedAttention : public torch::autograd::Function<FusedAttention> {
 public:
  static Tensor forward(AutogradContext* context, const Tensor& q_BTAE, const Tensor& k_BSGE,
                        const Tensor& v_BSGE, const AttentionArgs& args) {
    context->save_for_backward({q_BTAE, k_BSGE, v_BSGE});
    auto& data = context->saved_data;
    data["scale"] = args.scale;
    data["is_causal"] = args.is_causal;
    data["window"] = args.window;
    data["prefix"] = args.prefix;
    data["may_round"] = args.may_round;
    data["key_mask"] = args.key_mask.defined()
                           ? args.key_mask.expand({k_BSGE.size(0), k_BSGE.size(1)}).contiguous()
                           : Tensor();
    return attention(q_BTAE, k_BSGE, v_BSGE, args);  // without gradients in here, so the fused kernel
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const variable_list saved = context->get_saved_variables();
    const Tensor &q_BTAE = saved[0], &k_BSGE = saved[1], &v_BSGE = saved[2];
    Tensor dy_BTAE = gradients[0].stride(3) == 1 ? gradients[0] : gradients[0].contiguous();
    auto& data = context->saved_data;
    kernels::AttentionGradient call{};
    call.batch = q_BTAE.size(0), call.queries = q_BTAE.size(1), call.heads = q_BTAE.size(2);
    call.width = q_BTAE.size(3), call.keys = k_BSGE.size(1), call.groups = k_BSGE.size(2);
    call.value_width = v_BSGE.size(3);
    Tensor dq_BTAE = empty_result({call.batch, call.queries, call.heads, call.width});
    Tensor dk_BSAE = empty_result({call.batch, call.keys, call.heads, call.width});
    Tensor dv_BSAE = empty_result({call.batch, call.keys, call.heads, call.value_width});
    call.q = q_BTAE.data_ptr<float>(), call.k = k_BSGE.data_ptr<float>(), call.v = v_BSGE.data_ptr<float>();
    call.dy = dy_BTAE.data_ptr<float>();
    copy_strides(q_BTAE, call.q_strides), copy_strides(k_BSGE, call.k_strides);
    copy_strides(v_BSGE, call.v_strides), copy_strides(dy_BTAE, call.dy_strides);
    call.dq = dq_BTAE.data_ptr<float>(), call.dk = dk_BSAE.data_ptr<float>(),
    call.dv = dv_BSAE.data_ptr<float>();
    call.scale = static_cast<float>(data["scale"].toDouble());
    call.is_causal = data["is_causal"].toBool();
    call.window = data["window"].toInt(), call.prefix = data["prefix"].toInt();
    Tensor key_mask = data["key_mask"].toTensor();
    call.key_mask = key_mask.defined() ? key_mask.data_ptr<bool>() : nullptr;
    call.rounds = data["may_round"].toBool() && kernels::multiplies_pairs();
    tally::Span span("attention");
    kernels::attention_gradient(call);
    return {dq_BTAE, sum_of_heads(dk_BSAE, call.groups), sum_of_heads(dv_BSAE, call.groups), Tensor()};
  }
};

}  // namespace

bool has_fused_gradient(const Tensor& q_BTAE, const Tensor& k_BSGE, const Tensor& v_BSGE,
                        const AttentionArgs& args) {
  auto is_fit = [](const Tensor& tensor) {
    return tensor.scalar_type() == at::kFloat && tensor.device().is_cpu() && tensor.numel() > 0 &&
           (tensor.stride(3) == 1 || tensor.size(3) == 1);
  };
  return kernels_enabled() && at::GradMode::is_enabled() && is_fit(q_BTAE) && is_fit(k_BSGE) &&
         is_fit(v_BSGE) && args.scale > 0 && args.softcap == 0 && !args.alibi_slopes.defined() &&
         !args.bias.defined() && (!args.key_mask.defined() || args.key_mask.scalar_type() == at::kBool);
}

Tensor attention_with_gradient(const Tensor& q_BTAE, const Tensor& k_BSGE, const Tensor& v_BSGE,
                               const AttentionArgs& args) {
  return FusedAttention::apply(q_BTAE, k_BSGE, v_BSGE, args);
}

}  // namespace vlm::ops
