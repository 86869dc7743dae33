// AdamW (Loshchilov and Hutter, 2019) over a flat range, in place, and the rounding of the new weights to bfloat16.
// The scalars that control the update are read on the device: its number, from 1, the divisor of the gradients, and 1
// if the update is to be skipped.

struct AdamWConstants {
  double learning_rate, beta1, beta2, weight_decay, epsilon;
};

// Element i is number first + i of the model.
struct AdamWRounding {
  long long first, seed, is_stochastic;
};

// Runs of elements that are all decayed or all not, in turns: their ends, their number, and whether the first is
// decayed.
struct AdamWRuns {
  const long long* ends;
  long long count, first_is_decayed;
};

// Returns the number of the run that contains element i.
__device__ inline long long run_of(const AdamWRuns& runs, long long i) {
  long long low = 0, high = runs.count - 1;
  while (low < high) {
    const long long middle = (low + high) / 2;
    if (i < runs.ends[middle]) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return low;
}

// Factors of one update.
struct AdamWFactors {
  float grad_factor, decay, beta1, beta2, epsilon, step_size, root_bias_2;
};

__device__ inline void adamw(const AdamWFactors& factors, bool is_decayed, float gradient, float& parameter, float& m,
                             float& v) {
  gradient *= factors.grad_factor;
  m += (1.0f - factors.beta1) * (gradient - m);
  v = factors.beta2 * v + (1.0f - factors.beta2) * gradient * gradient;
  const float kept = is_decayed ? parameter * factors.decay : parameter;
  parameter = kept - factors.step_size * (m / (sqrtf(v) / factors.root_bias_2 + factors.epsilon));
}

// K adjacent elements.
template <class T, int K>
struct alignas(sizeof(T) * K) Some {
  T at[K];
};

// Returns K adjacent elements, from number `from` on.
template <int K, class G>
__device__ inline void adamw_some(const AdamWFactors& factors, const AdamWRuns& runs, float* parameters, const G* gradients, float* exp_avg,
                                  float* exp_avg_sq, bfloat16* weights, long long from, AdamWRounding rounding,
                                  unsigned key) {
  using Floats = Some<float, K>;
  const Some<G, K> g = *reinterpret_cast<const Some<G, K>*>(gradients + from);
  Floats p = *reinterpret_cast<Floats*>(parameters + from);
  Floats m = *reinterpret_cast<Floats*>(exp_avg + from);
  Floats v = *reinterpret_cast<Floats*>(exp_avg_sq + from);
  long long run = run_of(runs, from);
  for (int k = 0; k < K; k++) {
    if (from + k >= runs.ends[run]) run++;
    const bool is_decayed = (run + runs.first_is_decayed) % 2 != 0;
    adamw(factors, is_decayed, widen(g.at[k]), p.at[k], m.at[k], v.at[k]);
  }
  *reinterpret_cast<Floats*>(parameters + from) = p;
  *reinterpret_cast<Floats*>(exp_avg + from) = m;
  *reinterpret_cast<Floats*>(exp_avg_sq + from) = v;
  if (weights == nullptr) return;
  Some<bfloat16, K> rounded;
  for (int k = 0; k < K; k++) {
    if (rounding.is_stochastic) {
      rounded.at[k] = rounded_by_chance(p.at[k], rounding.first + from + k, key);
    } else {
      narrow(p.at[k], &rounded.at[k]);
    }
  }
  *reinterpret_cast<Some<bfloat16, K>*>(weights + from) = rounded;
}

// weights may be null.
template <class G>
__device__ inline void adamw(float* parameters, const G* gradients, float* exp_avg, float* exp_avg_sq, bfloat16* weights,
                             AdamWRuns runs, const float* step, const float* grad_scale, const float* skip,
                             AdamWConstants constants, AdamWRounding rounding) {
  constexpr int kQuad = 4;
  __shared__ AdamWFactors shared;
  if (*skip != 0.0f) return;
  // Powers in float64 are slow on some GPUs: one thread of a block computes them.
  if (threadIdx.x == 0) {
    const double bias_1 = 1.0 - pow(constants.beta1, static_cast<double>(*step));
    const double bias_2 = 1.0 - pow(constants.beta2, static_cast<double>(*step));
    shared.grad_factor = 1.0f / *grad_scale;
    shared.decay = static_cast<float>(1.0 - constants.learning_rate * constants.weight_decay);
    shared.beta1 = static_cast<float>(constants.beta1);
    shared.beta2 = static_cast<float>(constants.beta2);
    shared.epsilon = static_cast<float>(constants.epsilon);
    shared.step_size = static_cast<float>(constants.learning_rate / bias_1);
    shared.root_bias_2 = static_cast<float>(sqrt(bias_2));
  }
  __syncthreads();
  const AdamWFactors factors = shared;
  const unsigned key = rounding_key(rounding.seed, *step);
  const auto misalignment = [](const void* at, unsigned long long bytes) {
    return reinterpret_cast<unsigned long long>(at) % bytes;
  };
  const bool is_aligned = misalignment(parameters, sizeof(float) * kQuad) == 0 &&
                          misalignment(exp_avg, sizeof(float) * kQuad) == 0 &&
                          misalignment(exp_avg_sq, sizeof(float) * kQuad) == 0 &&
                          misalignment(gradients, sizeof(G) * kQuad) == 0 &&
                          misalignment(weights, sizeof(bfloat16) * kQuad) == 0;
  const long long n = runs.ends[runs.count - 1];
  const long long quads = is_aligned ? n / kQuad : 0;
  const long long thread = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x;
  const long long stride = static_cast<long long>(gridDim.x) * blockDim.x;
  for (long long i = thread; i < quads; i += stride) {
    adamw_some<kQuad>(factors, runs, parameters, gradients, exp_avg, exp_avg_sq, weights, i * kQuad, rounding, key);
  }
  for (long long i = quads * kQuad + thread; i < n; i += stride) {
    adamw_some<1>(factors, runs, parameters, gradients, exp_avg, exp_avg_sq, weights, i, rounding, key);
  }
}

extern "C" __global__ void adamw_float32(float* parameters, const float* gradients, float* exp_avg, float* exp_avg_sq,
                                         bfloat16* weights, AdamWRuns runs, const float* step, const float* grad_scale,
                                         const float* skip, AdamWConstants constants, AdamWRounding rounding) {
  adamw(parameters, gradients, exp_avg, exp_avg_sq, weights, runs, step, grad_scale, skip, constants, rounding);
}

extern "C" __global__ void adamw_bfloat16(float* parameters, const bfloat16* gradients, float* exp_avg,
                                          float* exp_avg_sq, bfloat16* weights, AdamWRuns runs, const float* step,
                                          const float* grad_scale, const float* skip, AdamWConstants constants,
                                          AdamWRounding rounding) {
  adamw(parameters, gradients, exp_avg, exp_avg_sq, weights, runs, step, grad_scale, skip, constants, rounding);
}
