// Operations of libtorch that tch 0.24 lacks: a C interface over single ATen operators.
//
// Every function returns nullptr, or the message of the C++ exception, which the caller frees with convoy_free_message.
// Tensors cross as at::Tensor*, which is what torch_sys::C_tensor* points to.

#include <cstdlib>
#include <vector>

#include <ATen/Context.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/index_add.h>
#include <ATen/ops/index_put.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/native_layer_norm_backward.h>

#include "guarded.h"

using at::Tensor;

namespace {

std::vector<Tensor> list(Tensor* const* tensors, size_t count) {
  std::vector<Tensor> out;
  out.reserve(count);
  for (size_t i = 0; i < count; i++) out.push_back(*tensors[i]);
  return out;
}

}  // namespace

extern "C" {

void convoy_free_message(char* message) { free(message); }

// x, grad: [N, C]; mean, rstd: [N, 1]; weight, bias: [C]. out: grad of x, weight, bias, each a new at::Tensor.
char* convoy_layer_norm_backward(Tensor* grad, Tensor* x, Tensor* mean, Tensor* rstd, Tensor* weight, Tensor* bias,
                                 Tensor** out) {
  return guarded([&] {
    auto [dx, dweight, dbias] = at::native_layer_norm_backward(*grad, *x, {x->size(-1)}, *mean, *rstd, *weight, *bias,
                                                               {true, true, true});
    out[0] = new Tensor(std::move(dx));
    out[1] = new Tensor(std::move(dweight));
    out[2] = new Tensor(std::move(dbias));
  });
}

// out [M, N] = a [M, K] times b [K, N], plus what out was if accumulate. On CUDA out may be of a wider kind than a and b.
char* convoy_add_product(Tensor* out, Tensor* a, Tensor* b, bool accumulate) {
  return guarded([&] {
    if (out->scalar_type() == a->scalar_type()) {
      accumulate ? at::addmm_out(*out, *out, *a, *b) : at::mm_out(*out, *a, *b);
    } else {
      accumulate ? at::addmm_out(*out, *out, *a, *b, out->scalar_type())
                 : at::mm_out(*out, *a, *b, out->scalar_type());
    }
  });
}

// Adds rows [N, C] to the rows of out [V, C] that indices [N] name, in a fixed order if at::globalContext() asks for
// it.
char* convoy_add_rows(Tensor* out, Tensor* indices, Tensor* rows) {
  return guarded([&] {
    if (out->is_cuda() && at::globalContext().deterministicAlgorithms()) {
      out->index_put_({*indices}, *rows, /*accumulate=*/true);
    } else {
      out->index_add_(0, *indices, *rows);
    }
  });
}

// Copies from to to, of equal size, without waiting for the copy if possible: between a GPU and pinned memory.
char* convoy_copy_without_waiting(Tensor* from, Tensor* to) {
  return guarded([&] { to->copy_(*from, /*non_blocking=*/true); });
}

// Makes later operations compute sums in a fixed order, or fail. By default libtorch would then also fill all memory
// that it allocates, for code that reads uninitialised values.
char* convoy_set_deterministic() {
  return guarded([&] {
    at::globalContext().setDeterministicAlgorithms(true, /*warn_only=*/false);
    at::globalContext().setDeterministicFillUninitializedMemory(false);
  });
}

// Copies the tensor to pinned host memory, as a new at::Tensor.
char* convoy_pin_memory(Tensor* tensor, Tensor** out) {
  return guarded([&] { *out = new Tensor(tensor->pin_memory()); });
}

// Makes one AdamW update of `count` tensors in place. Gradients are divided by *grad_scale; nothing changes if
// *found_inf is 1. *step is the number of this update, from 1.
char* convoy_adamw(Tensor* const* parameters, Tensor* const* gradients, Tensor* const* exp_avgs,
                   Tensor* const* exp_avg_sqs, size_t count, Tensor* step, double learning_rate, double beta1,
                   double beta2, double weight_decay, double epsilon, Tensor* grad_scale, Tensor* found_inf) {
  return guarded([&] {
    std::vector<Tensor> steps(count, *step);
    auto p = list(parameters, count), g = list(gradients, count);
    auto m = list(exp_avgs, count), v = list(exp_avg_sqs, count);
    at::_fused_adamw_(p, g, m, v, {}, steps, learning_rate, beta1, beta2, weight_decay, epsilon,
                      /*amsgrad=*/false, /*maximize=*/false, *grad_scale, *found_inf);
  });
}

}  // extern "C"
