// Cross-entropy and its gradient in place over the logits, which are read twice, the second time mostly from the
// cache, and written once.

// Number of blocks that registers and threads allow on a multiprocessor at once: one reads while another computes.
constexpr int kCrossEntropyBlocks = 2;

__device__ inline float minus_infinity() { return __uint_as_float(0xff800000u); }

// e^x for x up to 0.
__device__ inline float exponential(float x) { return power_of_2(x * 1.4426950408889634f); }

// A sum of e^(x - max), with the largest x. The sum of nothing is 0.
struct ScaledSum {
  float max, sum;
};

__device__ inline ScaledSum add(ScaledSum a, ScaledSum b) {
  if (a.sum == 0.0f) return b;
  if (b.sum == 0.0f) return a;
  const float max = a.max > b.max ? a.max : b.max;
  return {max, a.sum * exponential(a.max - max) + b.sum * exponential(b.max - max)};
}

// Returns the sum over all threads of the block, whose number is a power of two.
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

// Adds the elements of a pack.
template <class T>
__device__ inline void add_pack(ScaledSum* own, const Numbers<T>& x) {
  float max = x.at[0];
  for (int j = 1; j < Pack<T>::kSize; j++) max = x.at[j] > max ? x.at[j] : max;
  if (max > own->max) {
    own->sum *= exponential(own->max - max);
    own->max = max;
  }
  for (int j = 0; j < Pack<T>::kSize; j++) own->sum += exponential(x.at[j] - own->max);
}

// A block for each row of logits [rows, stride], of which the first `vocabulary` columns count. These become scale *
// (softmax - one-hot of the target), the others 0. losses: [rows], each row's cross-entropy. A row with a target
// outside of the vocabulary becomes NaN. The stride is a multiple of a pack.
template <class T>
__device__ inline void cross_entropy(T* logits, const long long* targets, double* losses, long long stride,
                                     long long vocabulary, double scale) {
  constexpr int kSize = Pack<T>::kSize;
  Pack<T>* row = pack(logits + blockIdx.x * stride);
  const bool is_token = targets[blockIdx.x] >= 0 && targets[blockIdx.x] < vocabulary;
  const int target = is_token ? static_cast<int>(targets[blockIdx.x]) : 0, target_pack = target / kSize;
  const float target_logit = is_token ? widen(logits[blockIdx.x * stride + target]) : minus_infinity() - minus_infinity();
  // Number of packs that count as a whole, and of columns in the next pack that count.
  const int packs = static_cast<int>(stride / kSize), whole = static_cast<int>(vocabulary / kSize);
  const int rest = static_cast<int>(vocabulary % kSize);
  const int first = threadIdx.x, step = blockDim.x;
  // The next pack is loaded while one is computed.
  Pack<T> next = {};
  const auto fetch = [&](int i) {
    if (i < packs) next = row[i];
  };

  ScaledSum own = {minus_infinity(), 0.0f};
  fetch(first);
  for (int i = first; i < whole; i += step) {
    const auto numbers = widen(next);
    fetch(i + step);
    add_pack<T>(&own, numbers);
  }
  if (rest > 0 && threadIdx.x == 0) {
    auto numbers = widen(row[whole]);
    for (int j = 0; j < kSize; j++) numbers.at[j] = j < rest ? numbers.at[j] : minus_infinity();
    add_pack<T>(&own, numbers);
  }
  // Every thread has read the target's logit when this returns, and may overwrite it.
  const ScaledSum all = add_over_block(own);

  if (threadIdx.x == 0) losses[blockIdx.x] = log(static_cast<double>(all.sum)) - (target_logit - all.max);
  const float of_target = static_cast<float>(scale), factor = is_token ? of_target / all.sum : target_logit;
  fetch(first);
  for (int i = first; i < packs; i += step) {
    auto numbers = widen(next);
    fetch(i + step);
    for (int j = 0; j < kSize; j++) numbers.at[j] = exponential(numbers.at[j] - all.max) * factor;
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
