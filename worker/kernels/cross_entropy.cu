// Cross-entropy and its gradient in place over the logits: read twice, the second time mostly from the cache, and written once.

// A sum of e^(x - max), with the largest x. The sum of nothing is 0.
struct ScaledSum {
  float max, sum;
};

__device__ inline float minus_infinity() { return __uint_as_float(0xff800000u); }

__device__ inline ScaledSum add(ScaledSum a, ScaledSum b) {
  if (a.sum == 0.0f) return b;
  if (b.sum == 0.0f) return a;
  const float max = a.max > b.max ? a.max : b.max;
  return {max, a.sum * __expf(a.max - max) + b.sum * __expf(b.max - max)};
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

// A block for each row of logits [rows, stride], of which the first `vocabulary` columns count; they become scale * (softmax -
// one-hot of the target), the others 0. losses: [rows], each row's cross-entropy. The stride is a multiple of a pack.
template <class T>
__device__ inline void cross_entropy(T* logits, const long long* targets, double* losses, long long stride,
                                     long long vocabulary, double scale) {
  const long long target = targets[blockIdx.x];
  Pack<T>* row = reinterpret_cast<Pack<T>*>(logits + blockIdx.x * stride);
  const float target_logit = widen(logits[blockIdx.x * stride + target]);
  const long long packs = stride / Pack<T>::kSize;

  ScaledSum own = {0.0f, 0.0f};
  for (long long i = threadIdx.x; i < packs; i += blockDim.x) {
    const auto some = widen(row[i]);
    const long long valid = vocabulary - i * Pack<T>::kSize;
    if (valid <= 0) break;
    float max = minus_infinity(), sum = 0.0f;
    // What does not count is e^-infinity.
    const auto logit = [&](int j) { return j < valid ? some.at[j] : minus_infinity(); };
    for (int j = 0; j < Pack<T>::kSize; j++) max = logit(j) > max ? logit(j) : max;
    for (int j = 0; j < Pack<T>::kSize; j++) sum += __expf(logit(j) - max);
    own = add(own, {max, sum});
  }
  // Every thread has read the target's logit when this returns, and may overwrite it.
  const ScaledSum all = add_over_block(own);

  if (threadIdx.x == 0) losses[blockIdx.x] = log(static_cast<double>(all.sum)) - (target_logit - all.max);
  const float factor = static_cast<float>(scale / all.sum);
  for (long long i = threadIdx.x; i < packs; i += blockDim.x) {
    auto numbers = widen(row[i]);
    for (int j = 0; j < Pack<T>::kSize; j++) {
      const long long column = i * Pack<T>::kSize + j;
      float gradient = column < vocabulary ? __expf(numbers.at[j] - all.max) * factor : 0.0f;
      if (column == target) gradient -= static_cast<float>(scale);
      numbers.at[j] = gradient;
    }
    row[i] = narrow(numbers);
  }
}

extern "C" __global__ void cross_entropy_float32(float* logits, const long long* targets, double* losses,
                                                 long long stride, long long vocabulary, double scale) {
  cross_entropy(logits, targets, losses, stride, vocabulary, scale);
}

extern "C" __global__ void cross_entropy_bfloat16(bfloat16* logits, const long long* targets, double* losses,
                                                  long long stride, long long vocabulary, double scale) {
  cross_entropy(logits, targets, losses, stride, vocabulary, scale);
}
