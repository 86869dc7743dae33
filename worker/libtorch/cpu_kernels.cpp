// Convoy's own kernels for the CPU, over raw float32 memory: each passes over memory as seldom as its arithmetic
// allows. Their twins, made of libtorch's operations, are in src/kernels; tests compare the two.
//
// Loops are written so that the compiler vectorises them; `clones` makes one version for each kind of processor, and
// the right one is chosen when the program starts. No result depends on the number of threads. Kernels made of matrix
// products are in Rust; their loops over rows are here, and their access to libtorch's threads.

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

#include <ATen/Parallel.h>

#if defined(__x86_64__) && defined(__linux__)
#define clones __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define clones
#endif

namespace {

// Number of float32 values that are summed as float32; the sums are added as float64.
constexpr int64_t kShort = 1024;
// Number of elements below which a second thread costs more than it saves.
constexpr int64_t kGrain = 1 << 15;

// e^x for x <= 0 to about 1e-7 (the reduction and polynomial of Cephes' expf, S. Moshier), 0 below -87.
inline float exp_not_positive(float given) {
  const float x = std::max(given, -87.0f);
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
  y = given < -87.0f ? 0.0f : y;
  return given != given ? given : y;  // a NaN's bits are its own
}

clones float row_max(const float* x, int64_t n) {
  float max = -INFINITY;
#pragma omp simd reduction(max : max)
  for (int64_t i = 0; i < n; i++) max = x[i] > max ? x[i] : max;  // std::max, of references, is not vectorised
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

// x becomes e^(x - log_sum_exp), a probability p, and dp the gradient of the score: p * (dp - sum).
clones void softmax_backward(float* x, float* dp, int64_t n, float log_sum_exp, float sum) {
  for (int64_t i = 0; i < n; i++) {
    x[i] = exp_not_positive(x[i] - log_sum_exp);
    dp[i] = x[i] * (dp[i] - sum);
  }
}

// GELU by its tanh approximation is x * sigmoid(z) with this z, since (1 + tanh(z / 2)) / 2 = sigmoid(z).
constexpr float kGelu = 1.5957691216057308f;  // 2 * sqrt(2 / pi)
constexpr float kGeluCube = 0.044715f;

struct Sigmoid {
  float value, slope;
};

// sigmoid(z) and its derivative, by e^-|z|, which never overflows.
inline Sigmoid sigmoid(float z) {
  const float e = exp_not_positive(-std::abs(z));
  const float part = 1.0f / (1.0f + e);
  return {z < 0 ? e * part : part, e * part * part};
}

clones void gelu(const float* x, float* y, int64_t n) {
  for (int64_t i = 0; i < n; i++) y[i] = x[i] * sigmoid(kGelu * x[i] * (1.0f + kGeluCube * x[i] * x[i])).value;
}

clones void gelu_backward(const float* x, const float* dy, float* dx, int64_t n) {
  for (int64_t i = 0; i < n; i++) {
    const float square = kGeluCube * x[i] * x[i];
    const Sigmoid s = sigmoid(kGelu * x[i] * (1.0f + square));
    dx[i] = dy[i] * (s.value + x[i] * s.slope * (kGelu * (1.0f + 3.0f * square)));
  }
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
    // Infinities and NaN have no neighbour to be rounded to.
    const bool is_finite = (bits & 0x7f800000u) != 0x7f800000u;
    to[i] = static_cast<uint16_t>((bits + (is_finite ? random : 0)) >> 16);
  }
}

}  // namespace

extern "C" {

// Calls task with context and each number below tasks; each of libtorch's threads takes the next number.
void convoy_cpu_each_in_turn(int64_t tasks, void (*task)(const void*, int64_t), const void* context) {
  std::atomic<int64_t> next{0};
  at::parallel_for(0, std::min<int64_t>(tasks, at::get_num_threads()), 1, [&](int64_t, int64_t) {
    for (int64_t number; (number = next.fetch_add(1)) < tasks;) task(context, number);
  });
}

// logits: [rows, stride] of which the first `vocabulary` columns count; they become scale * (softmax - one-hot of the
// target), the others 0. losses: [rows], each row's cross-entropy. A row with a target outside of the vocabulary
// becomes NaN.
void convoy_cpu_cross_entropy(float* logits, const int64_t* targets, double* losses, int64_t rows, int64_t stride,
                              int64_t vocabulary, double scale) {
  at::parallel_for(0, rows, 1, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; row++) {
      float* x = logits + row * stride;
      const float max = row_max(x, vocabulary);
      const int64_t target = targets[row];
      const bool is_token = target >= 0 && target < vocabulary;
      const float target_logit = is_token ? x[target] - max : std::numeric_limits<float>::quiet_NaN();
      const double sum = row_exp(x, vocabulary, max);
      losses[row] = std::log(sum) - target_logit;
      row_scale(x, vocabulary, is_token ? static_cast<float>(scale / sum) : target_logit);
      if (is_token) x[target] -= static_cast<float>(scale);
      std::fill(x + vocabulary, x + stride, 0.0f);
    }
  });
}

// scores: [rows, columns] of the last `rows` queries of `columns`, each of which sees the keys up to its own place.
// They become e^(score - the row's largest), or 0 if the query does not see the key. sums: [rows], the sums of the
// rows; log_sum_exp: [rows], the logs of the sums of e^score. Runs on the calling thread.
void convoy_cpu_causal_exp(float* scores, int64_t rows, int64_t columns, float* sums, float* log_sum_exp) {
  for (int64_t row = 0; row < rows; row++) {
    float* x = scores + row * columns;
    const int64_t seen = columns - rows + row + 1;
    const float max = row_max(x, seen);
    const double sum = row_exp(x, seen, max);
    std::fill(x + seen, x + columns, 0.0f);
    sums[row] = static_cast<float>(sum);
    log_sum_exp[row] = static_cast<float>(max + std::log(sum));
  }
}

// scores, dscores: [rows, columns], the scores as above, and the gradients of the probabilities; they become the
// probabilities and the gradients of the scores. sums: [rows], each row's sum of probability times gradient. Runs on
// the calling thread.
void convoy_cpu_causal_softmax_backward(float* scores, float* dscores, int64_t rows, int64_t columns,
                                        const float* log_sum_exp, const float* sums) {
  for (int64_t row = 0; row < rows; row++) {
    float *x = scores + row * columns, *dx = dscores + row * columns;
    const int64_t seen = columns - rows + row + 1;
    softmax_backward(x, dx, seen, log_sum_exp[row], sums[row]);
    std::fill(x + seen, x + columns, 0.0f);
    std::fill(dx + seen, dx + columns, 0.0f);
  }
}

// y: GELU of n elements.
void convoy_cpu_gelu(const float* x, float* y, int64_t n) {
  at::parallel_for(0, n, kGrain, [&](int64_t begin, int64_t end) { gelu(x + begin, y + begin, end - begin); });
}

// dx: the gradient of GELU's input, n elements, given the gradient of its output.
void convoy_cpu_gelu_backward(const float* x, const float* dy, float* dx, int64_t n) {
  at::parallel_for(0, n, kGrain, [&](int64_t begin, int64_t end) {
    gelu_backward(x + begin, dy + begin, dx + begin, end - begin);
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

// The sum of the squares of n elements; sums[i] is the sum over elements [i * part, (i + 1) * part).
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
