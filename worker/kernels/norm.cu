// Sums of squares. sums [blocks]: the sum of each block, to be added up in their order.

template <class T>
__device__ inline void sum_of_squares(const T* x, long long n, double* sums) {
  const bool is_aligned = reinterpret_cast<unsigned long long>(x) % sizeof(Pack<T>) == 0;
  const long long packs = is_aligned ? n / Pack<T>::kSize : 0;
  const long long thread = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x;
  const long long stride = static_cast<long long>(gridDim.x) * blockDim.x;
  float own = 0.0f;
  for (long long i = thread; i < packs; i += stride) {
    const Pack<T> some = pack(x)[i];
    for (int j = 0; j < Pack<T>::kSize; j++) own += widen(some.at[j]) * widen(some.at[j]);
  }
  for (long long i = packs * Pack<T>::kSize + thread; i < n; i += stride) own += widen(x[i]) * widen(x[i]);
  own = add_over_block<kThreadsMax>({own}, 0).at[0];
  if (threadIdx.x == 0) sums[blockIdx.x] = own;
}

extern "C" __global__ void sum_of_squares_float32(const float* x, long long n, double* sums) {
  sum_of_squares(x, n, sums);
}

extern "C" __global__ void sum_of_squares_bfloat16(const bfloat16* x, long long n, double* sums) {
  sum_of_squares(x, n, sums);
}
