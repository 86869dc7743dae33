// Cross-entropy and its gradient in place over the logits: read twice, the second time mostly from the cache, and written once.

// Blocks that the registers let share a multiprocessor: one reads while another computes.
constexpr int kCrossEntropyBlocks = 2;

// e^x = 2^(x * kLog2E).
constexpr float kLog2E = 1.4426950408889634f;

__device__ inline float minus_infinity() { return __uint_as_float(0xff800000u); }

// A sum of e^x for some x: sum times 2^exponent, where the exponent is that of the largest. The sum of nothing is 0.
struct ScaledSum {
  float exponent, sum;
};

__device__ inline ScaledSum add(ScaledSum a, ScaledSum b) {
  if (a.sum == 0.0f) return b;
  if (b.sum == 0.0f) return a;
  const float exponent = a.exponent > b.exponent ? a.exponent : b.exponent;
  return {exponent, a.sum * power_of_2(a.exponent - exponent) + b.sum * power_of_2(b.exponent - exponent)};
}

// The sum over all threads of the block, a power of two of them.
__device__ inline ScaledSum add_over_block(ScaledSum own) {
  __shared__ ScaledSum sums[kThreadsMax];
  sums[threadIdx.x] = own;
  __syncthreads();
  for (unsigned half = blockDim.x / 2; half > 0; half /= 2) {
    if (threadIdx.x < half) sums[threadIdx.x] = add(sums[threadIdx.x], sums[threadIdx.x + half]);
    __syncthreads();
  }
  return sums[0];
}

// Adds e^x for all of a pack's.
template <class T>
__device__ inline void add_exponentials(ScaledSum* own, const Numbers<T>& x) {
  float max = x.at[0];
  for (int j = 1; j < Pack<T>::kSize; j++) max = x.at[j] > max ? x.at[j] : max;
  const float exponent = max * kLog2E;
  if (exponent > own->exponent) {
    own->sum *= power_of_2(own->exponent - exponent);
    own->exponent = exponent;
  }
  for (int j = 0; j < Pack<T>::kSize; j++) own->sum += power_of_2(x.at[j] * kLog2E - own->exponent);
}

// A block for each row of logits [rows, stride], of which the first `vocabulary` columns count; they become scale * (softmax -
// one-hot of the target), the others 0. losses: [rows], each row's cross-entropy. The stride is a multiple of a pack.
template <class T>
__device__ inline void cross_entropy(T* logits, const long long* targets, double* losses, long long stride,
                                     long long vocabulary, double scale) {
  constexpr int kSize = Pack<T>::kSize;
  Pack<T>* row = pack(logits + blockIdx.x * stride);
  const int target = static_cast<int>(targets[blockIdx.x]), target_pack = target / kSize;
  const float target_logit = widen(logits[blockIdx.x * stride + target]);
  // Packs of which all counts, and columns of the one after them that do.
  const int packs = static_cast<int>(stride / kSize), whole = static_cast<int>(vocabulary / kSize);
  const int rest = static_cast<int>(vocabulary % kSize);
  const int first = threadIdx.x, step = blockDim.x;
  // The pack that comes next is on its way while one is computed.
  Pack<T> next = {};
  const auto fetch = [&](int i) {
    if (i < packs) next = row[i];
  };

  ScaledSum own = {minus_infinity(), 0.0f};
  fetch(first);
  for (int i = first; i < whole; i += step) {
    const auto numbers = widen(next);
    fetch(i + step);
    add_exponentials<T>(&own, numbers);
  }
  if (rest > 0 && threadIdx.x == 0) {
    auto numbers = widen(row[whole]);
    for (int j = 0; j < kSize; j++) numbers.at[j] = j < rest ? numbers.at[j] : minus_infinity();
    add_exponentials<T>(&own, numbers);
  }
  // Every thread has read the target's logit when this returns, and may overwrite it.
  const ScaledSum all = add_over_block(own);

  if (threadIdx.x == 0) {
    const double exponent = all.exponent * (1.0 / kLog2E);
    losses[blockIdx.x] = log(static_cast<double>(all.sum)) + (exponent - target_logit);
  }
  const float of_target = static_cast<float>(scale), factor = of_target / all.sum;
  fetch(first);
  for (int i = first; i < packs; i += step) {
    auto numbers = widen(next);
    fetch(i + step);
    for (int j = 0; j < kSize; j++) numbers.at[j] = power_of_2(numbers.at[j] * kLog2E - all.exponent) * factor;
    if (i == target_pack) {
      for (int j = 0; j < kSize; j++) numbers.at[j] -= j == target % kSize ? of_target : 0.0f;
    }
    if (i >= whole) {
      for (int j = 0; j < kSize; j++) numbers.at[j] = i == whole && j < rest ? numbers.at[j] : 0.0f;
    }
    row[i] = narrow(numbers);
  }
}

extern "C" __global__ void __launch_bounds__(kThreadsMax, kCrossEntropyBlocks)
cross_entropy_float32(float* logits, const long long* targets, double* losses, long long stride, long long vocabulary,
                      double scale) {
  cross_entropy(logits, targets, losses, stride, vocabulary, scale);
}

extern "C" __global__ void __launch_bounds__(kThreadsMax, kCrossEntropyBlocks)
cross_entropy_bfloat16(bfloat16* logits, const long long* targets, double* losses, long long stride, long long vocabulary,
                       double scale) {
  cross_entropy(logits, targets, losses, stride, vocabulary, scale);
}
