// CUDA's kernels compiled for a CPU, for tests without a GPU. The threads of a block take turns, from one
// __syncthreads() to the next, and the blocks run one after the other. This shows that the arithmetic and the indices
// are right, and that no thread needs the result of a thread with a higher number without waiting for it. It does not
// show what a GPU does about memory, or how fast.

#include <cmath>
#include <cstring>
#include <ucontext.h>
#include <vector>

#define __global__
#define __device__
#define __shared__ static
#define __launch_bounds__(...)

namespace {

struct Index {
  unsigned x = 0;
};
Index threadIdx, blockIdx, blockDim, gridDim;

inline float __uint_as_float(unsigned bits) {
  float x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

inline unsigned __float_as_uint(float x) {
  unsigned bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits;
}

constexpr size_t kStackBytes = 64 << 10;

// A thread of a block: a context with a stack of its own.
struct Fiber {
  ucontext_t context;
  std::vector<char> stack = std::vector<char>(kStackBytes);
  bool is_over = false;
};

ucontext_t scheduler;
Fiber* running = nullptr;
void (*body)(void**) = nullptr;
void** arguments = nullptr;

inline void __syncthreads() { swapcontext(&running->context, &scheduler); }

// The lanes of all warps exchange together here, so all warps of a kernel must reach this, or have ended.
inline float __shfl_xor_sync(unsigned, float value, int lane) {
  static float values[1024];
  values[threadIdx.x] = value;
  __syncthreads();
  const float other = values[threadIdx.x ^ lane];
  __syncthreads();
  return other;
}

void run_thread() {
  body(arguments);
  running->is_over = true;
}

void run_block(std::vector<Fiber>& fibers) {
  for (Fiber& fiber : fibers) {
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack.data();
    fiber.context.uc_stack.ss_size = fiber.stack.size();
    fiber.context.uc_link = &scheduler;
    fiber.is_over = false;
    makecontext(&fiber.context, run_thread, 0);
  }
  for (bool is_over = false; !is_over;) {
    is_over = true;
    for (size_t i = 0; i < fibers.size(); i++) {
      if (fibers[i].is_over) continue;
      threadIdx.x = static_cast<unsigned>(i);
      running = &fibers[i];
      swapcontext(&scheduler, &fibers[i].context);
      is_over = is_over && fibers[i].is_over;
    }
  }
}

#include "common.cuh"

#include "rounding.cu"

#include "adamw.cu"
#include "columns.cu"
#include "cross_entropy.cu"
#include "layer_norm.cu"
#include "norm.cu"

// Calls `kernel` with the arguments that `pointers` point to, as cuLaunchKernel takes them.
template <class... A, size_t... I>
void call(void (*kernel)(A...), void** pointers, std::index_sequence<I...>) {
  kernel(*static_cast<A*>(pointers[I])...);
}

template <auto kernel, class... A>
void unpack_for(void (*)(A...), void** pointers) {
  call(kernel, pointers, std::index_sequence_for<A...>());
}

template <auto kernel>
void unpack(void** pointers) {
  unpack_for<kernel>(kernel, pointers);
}

struct Entry {
  const char* name;
  void (*body)(void**);
};
const Entry kEntries[] = {
    {"adamw_float32", unpack<adamw_float32>},
    {"adamw_bfloat16", unpack<adamw_bfloat16>},
    {"column_sums_bfloat16", unpack<column_sums_bfloat16>},
    {"cross_entropy_float32", unpack<cross_entropy_float32>},
    {"cross_entropy_bfloat16", unpack<cross_entropy_bfloat16>},
    {"join_bfloat16", unpack<join_bfloat16>},
    {"layer_norm_backward_bfloat16", unpack<layer_norm_backward_bfloat16>},
    {"layer_norm_bfloat16", unpack<layer_norm_bfloat16>},
    {"round_stochastically", unpack<round_stochastically>},
    {"sum_columns", unpack<sum_columns>},
    {"sum_of_squares_bfloat16", unpack<sum_of_squares_bfloat16>},
    {"sum_of_squares_float32", unpack<sum_of_squares_float32>},
};

}  // namespace

// Runs kernel `name` in `blocks` blocks of `threads` threads; returns false if there is no such kernel. One call at a
// time.
extern "C" bool convoy_launch_on_cpu(const char* name, unsigned blocks, unsigned threads, void** pointers) {
  for (const Entry& entry : kEntries) {
    if (std::strcmp(entry.name, name) != 0) continue;
    body = entry.body;
    arguments = pointers;
    blockDim.x = threads;
    gridDim.x = blocks;
    std::vector<Fiber> fibers(threads);
    for (blockIdx.x = 0; blockIdx.x < blocks; blockIdx.x++) run_block(fibers);
    return true;
  }
  return false;
}
