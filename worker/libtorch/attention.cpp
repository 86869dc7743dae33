// Causal attention on CUDA, by the fastest exact kernel that libtorch has for the tensors: a C interface.
//
// Every function returns nullptr, or the message of the C++ exception, which the caller frees with convoy_free_message.

#include <atomic>
#include <tuple>

#include <ATen/Context.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/_scaled_dot_product_cudnn_attention.h>
#include <ATen/ops/_scaled_dot_product_cudnn_attention_backward.h>
#include <ATen/ops/_scaled_dot_product_efficient_attention.h>
#include <ATen/ops/_scaled_dot_product_efficient_attention_backward.h>
#include <ATen/ops/_scaled_dot_product_flash_attention.h>
#include <ATen/ops/_scaled_dot_product_flash_attention_backward.h>
#include <c10/util/Exception.h>

#include "guarded.h"

using at::Tensor;

namespace {

enum Kernel { kFlash = 0, kCudnn = 1, kEfficient = 2 };

// cuDNN makes a plan for every shape, which takes long, so it serves the lengths of training and not a text that
// grows.
constexpr int64_t kCudnnTokens = 128;
// Width of the widest heads with a backward in cuDNN on every GPU that it supports.
constexpr int64_t kCudnnHeadMax = 128;

// The first call finds out whether cuDNN works here; an error of a later call is an error.
enum Found { kUntried, kServes, kFails };
std::atomic<Found> cudnn = kUntried;

// cuDNN's kernel is the fastest on Hopper, and has no fixed order in backward; FlashAttention does not take float32.
Kernel choose(const Tensor& q) {
  if (q.scalar_type() != at::kBFloat16 && q.scalar_type() != at::kHalf) return kEfficient;
  const bool suits = q.size(2) % kCudnnTokens == 0 && q.size(3) <= kCudnnHeadMax && q.size(3) % 8 == 0;
  const bool may = suits && !at::globalContext().deterministicAlgorithms();
  return may && cudnn != kFails ? kCudnn : kFlash;
}

void keep(Tensor** out, const Tensor& attended, const Tensor& log_sum_exp, const Tensor& seed, const Tensor& offset) {
  out[0] = new Tensor(attended);
  out[1] = new Tensor(log_sum_exp);
  out[2] = new Tensor(seed);
  out[3] = new Tensor(offset);
}

// Returns whether cuDNN was able to compute it.
bool try_cudnn(const Tensor& q, const Tensor& k, const Tensor& v, Tensor** out) {
  try {
    auto result = at::_scaled_dot_product_cudnn_attention(q, k, v, /*attn_bias=*/{}, /*compute_log_sumexp=*/true,
                                                          /*dropout_p=*/0.0, /*is_causal=*/true);
    keep(out, std::get<0>(result), std::get<1>(result), std::get<6>(result), std::get<7>(result));
    cudnn = kServes;
    return true;
  } catch (const c10::OutOfMemoryError&) {
    throw;
  } catch (const std::exception& error) {
    if (cudnn == kServes) throw;
    // An older GPU, or no cuDNN.
    cudnn = kFails;
    TORCH_WARN("cuDNN has no attention here, FlashAttention serves: ", error.what());
    return false;
  }
}

}  // namespace

extern "C" {

// q, k, v: [B, H, T, D]. out: the result [B, H, T, D], each row's log-sum-exp, and the two tensors of the state of
// the random numbers; kernel: the kernel that ran.
char* convoy_attention(Tensor* q, Tensor* k, Tensor* v, Tensor** out, int* kernel) {
  return guarded([&] {
    *kernel = choose(*q);
    if (*kernel == kCudnn) {
      if (try_cudnn(*q, *k, *v, out)) return;
      *kernel = kFlash;
    }
    if (*kernel == kFlash) {
      auto result = at::_scaled_dot_product_flash_attention(*q, *k, *v, /*dropout_p=*/0.0, /*is_causal=*/true);
      keep(out, std::get<0>(result), std::get<1>(result), std::get<6>(result), std::get<7>(result));
    } else {
      auto [attended, log_sum_exp, seed, offset] = at::_scaled_dot_product_efficient_attention(
          *q, *k, *v, /*attn_bias=*/{}, /*compute_log_sumexp=*/true, /*dropout_p=*/0.0, /*is_causal=*/true);
      keep(out, attended, log_sum_exp, seed, offset);
    }
  });
}

// Computes backward by the kernel that ran forward. out: the gradients of q, k and v.
char* convoy_attention_backward(int kernel, Tensor* dout, Tensor* q, Tensor* k, Tensor* v, Tensor* attended,
                                Tensor* log_sum_exp, Tensor* seed, Tensor* offset, Tensor** out) {
  return guarded([&] {
    const int64_t t = q->size(2);
    std::tuple<Tensor, Tensor, Tensor> gradients;
    if (kernel == kCudnn) {
      gradients = at::_scaled_dot_product_cudnn_attention_backward(*dout, *q, *k, *v, *attended, *log_sum_exp, *seed,
                                                                   *offset, Tensor(), Tensor(), Tensor(), t, t,
                                                                   /*dropout_p=*/0.0, /*is_causal=*/true);
    } else if (kernel == kFlash) {
      gradients = at::_scaled_dot_product_flash_attention_backward(*dout, *q, *k, *v, *attended, *log_sum_exp, Tensor(),
                                                                   Tensor(), t, t, /*dropout_p=*/0.0,
                                                                   /*is_causal=*/true, *seed, *offset);
    } else {
      auto [dq, dk, dv, dbias] = at::_scaled_dot_product_efficient_attention_backward(
          *dout, *q, *k, *v, Tensor(), *attended, *log_sum_exp, *seed, *offset, /*dropout_p=*/0.0,
          {true, true, true, false}, /*is_causal=*/true);
      gradients = {dq, dk, dv};
    }
    out[0] = new Tensor(std::get<0>(gradients));
    out[1] = new Tensor(std::get<1>(gradients));
    out[2] = new Tensor(std::get<2>(gradients));
  });
}

}  // extern "C"
