// Convoy's own kernels for the CPU, over raw float32 memory: each passes over memory as seldom as its arithmetic allows.
// Their twins, made of libtorch's operations, are in src/kernels; tests hold the two together.
//
// Loops are written so that the compiler vectorises them; `clones` makes one version for each kind of processor, and the
// right one is chosen when the program starts. No result depends on the number of threads.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include <ATen/Parallel.h>

#if defined(__x86_64__) && defined(__linux__)
#define clones __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define clones
#endif

namespace {

// So many float32 are summed as float32, the sums of them as float64.
constexpr int64_t kShort = 1024;
// Elements below which a second thread costs more than it brings.
constexpr int64_t kGrain = 1 << 15;

// e^x for x <= 0 to about 1e-7 (the reduction and polynomial of Cephes' expf, S. Moshier); below -87 it is e^-87, which
// no sum of float32 notices.
inline float exp_not_positive(float x) {
  x = std::max(x, -87.0f);
  const float shifted = x * 1.44269504088896341f + 12582912.0f;  // adding 1.5 * 2^23 rounds to a whole number
  const float whole = shifted - 12582912.0f;
  const float r = (x - whole * 0.693359375f) - whole * -2.12194440e-4f;
  float y = 1.9875691500e-4f;
  y = y * r + 1.3981999507e-3f;
  y = y * r + 8.3334519073e-3f;
  y = y * r + 4.1665795894e-2f;
  y = y * r + 1.6666665459e-1f;
  y = y * r + 5.0000001201e-1f;
  y = y * (r * r) + r + 1.0f;
  int32_t bits, exponent;
  std::memcpy(&bits, &y, sizeof bits);
  std::memcpy(&exponent, &shifted, sizeof exponent);
  bits += static_cast<int32_t>(static_cast<uint32_t>(exponent) << 23);  // times 2^whole
  std::memcpy(&y, &bits, sizeof y);
  return y;
}

clones float row_max(const float* x, int64_t n) {
  float max = -INFINITY;
#pragma omp simd reduction(max : max)
  for (int64_t i = 0; i < n; i++) max = std::max(max, x[i]);
  return max;
}

// x becomes e^(x - max); returns the sum.
clones double row_exp(float* x, int64_t n, float max) {
  double sum = 0;
  for (int64_t begin = 0; begin < n; begin += kShort) {
    const int64_t end = std::min(n, begin + kShort);
    float part = 0;
#pragma omp simd reduction(+ : part)
    for (int64_t i = begin; i < end; i++) part += x[i] = exp_not_positive(x[i] - max);
    sum += part;
  }
  return sum;
}

clones void row_scale(float* x, int64_t n, float factor) {
  for (int64_t i = 0; i < n; i++) x[i] *= factor;
}

struct AdamWStep {
  float decay;         // 1 - learning rate * weight decay
  float step_size;     // learning rate / (1 - beta1^t)
  float beta1, beta2;
  float root_bias_2;   // sqrt(1 - beta2^t)
  float epsilon;
  float grad_factor;   // what gradients are multiplied by
};

clones void adamw(float* p, const float* g, float* m, float* v, int64_t n, const AdamWStep s) {
  for (int64_t i = 0; i < n; i++) {
    const float grad = g[i] * s.grad_factor;
    m[i] = m[i] + (1.0f - s.beta1) * (grad - m[i]);
    v[i] = s.beta2 * v[i] + (1.0f - s.beta2) * grad * grad;
    const float denominator = std::sqrt(v[i]) / s.root_bias_2 + s.epsilon;
    p[i] = p[i] * s.decay - s.step_size * (m[i] / denominator);
  }
}

clones double sum_of_squares(const float* x, int64_t n) {
  double sum = 0;
  for (int64_t begin = 0; begin < n; begin += kShort) {
    const int64_t end = std::min(n, begin + kShort);
    float part = 0;
#pragma omp simd reduction(+ : part)
    for (int64_t i = begin; i < end; i++) part += x[i] * x[i];
    sum += part;
  }
  return sum;
}

// MurmurHash3's finaliser.
inline uint32_t mix(uint32_t h) {
  h ^= h >> 16;
  h *= 0x85ebca6bu;
  h ^= h >> 13;
  h *= 0xc2b2ae35u;
  return h ^ (h >> 16);
}

clones void round_stochastically(const float* from, uint16_t* to, int64_t n, uint32_t first, uint32_t key) {
  for (int64_t i = 0; i < n; i++) {
    uint32_t bits;
    std::memcpy(&bits, from + i, sizeof bits);
    const uint32_t random = mix((first + static_cast<uint32_t>(i)) * 0x9e3779b1u + key) & 0xffff;
    // What is not finite has no neighbour to be rounded to.
    const bool is_finite = (bits & 0x7f800000u) != 0x7f800000u;
    to[i] = static_cast<uint16_t>((bits + (is_finite ? random : 0)) >> 16);
  }
}

}  // namespace

extern "C" {

// logits: [rows, stride] of which the first `vocabulary` columns count; they become scale * (softmax - one-hot of the
// target), the others 0. losses: [rows], each row's cross-entropy.
void convoy_cpu_cross_entropy(float* logits, const int64_t* targets, double* losses, int64_t rows, int64_t stride,
                              int64_t vocabulary, double scale) {
  at::parallel_for(0, rows, 1, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; row++) {
      float* x = logits + row * stride;
      const float max = row_max(x, vocabulary);
      const float target = x[targets[row]] - max;
      const double sum = row_exp(x, vocabulary, max);
      losses[row] = std::log(sum) - target;
      row_scale(x, vocabulary, static_cast<float>(scale / sum));
      x[targets[row]] -= static_cast<float>(scale);
      std::fill(x + vocabulary, x + stride, 0.0f);
    }
  });
}

// One AdamW update of n elements in place, number `step` from 1, with gradients multiplied by grad_factor.
void convoy_cpu_adamw(float* parameters, const float* gradients, float* exp_avg, float* exp_avg_sq, int64_t n,
                      double step, double learning_rate, double beta1, double beta2, double weight_decay,
                      double epsilon, double grad_factor) {
  const AdamWStep s = {
      static_cast<float>(1 - learning_rate * weight_decay),
      static_cast<float>(learning_rate / (1 - std::pow(beta1, step))),
      static_cast<float>(beta1),
      static_cast<float>(beta2),
      static_cast<float>(std::sqrt(1 - std::pow(beta2, step))),
      static_cast<float>(epsilon),
      static_cast<float>(grad_factor),
  };
  at::parallel_for(0, n, kGrain, [&](int64_t begin, int64_t end) {
    adamw(parameters + begin, gradients + begin, exp_avg + begin, exp_avg_sq + begin, end - begin, s);
  });
}

// The sum of the squares of n elements; sums[i] is that of elements [i * part, (i + 1) * part).
void convoy_cpu_sums_of_squares(const float* x, int64_t n, int64_t part, double* sums) {
  at::parallel_for(0, (n + part - 1) / part, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) sums[i] = sum_of_squares(x + i * part, std::min(part, n - i * part));
  });
}

// from: n float32; to: n bfloat16; element i draws as number first + i of the model.
void convoy_cpu_round_stochastically(const float* from, uint16_t* to, int64_t n, uint64_t first, uint32_t key) {
  at::parallel_for(0, n, kGrain, [&](int64_t begin, int64_t end) {
    round_stochastically(from + begin, to + begin, end - begin, static_cast<uint32_t>(first + begin), key);
  });
}

}  // extern "C"
