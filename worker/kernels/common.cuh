// What all kernels share. No header is included: NVRTC then needs no folder of them.
//
// Every kernel takes raw pointers, 64-bit numbers and structs of these; src/kernels/cuda has the list. They are
// compiled as C++ too (on_cpu.cpp), so that tests run the same source without a GPU: what is used of CUDA's language is what is
// defined there.

constexpr int kThreadsMax = 1024;
constexpr int kWarp = 32;

// As many elements as one load of 16 bytes brings.
template <class T>
struct alignas(16) Pack {
  static constexpr int kSize = 16 / sizeof(T);
  T at[kSize];
};

// Has the compiler take what is in the pack for something new: what it has computed of it is not kept in registers.
template <class T>
__device__ inline void renew(Pack<T>& pack) {
  unsigned* words = reinterpret_cast<unsigned*>(&pack);
  for (int i = 0; i < 4; i++) asm volatile("" : "+r"(words[i]));
}

struct bfloat16 {
  unsigned short bits;
};

// What lies at a multiple of a pack.
template <class T>
__device__ inline Pack<T>* pack(T* at) {
  return reinterpret_cast<Pack<T>*>(at);
}
template <class T>
__device__ inline const Pack<T>* pack(const T* at) {
  return reinterpret_cast<const Pack<T>*>(at);
}

__device__ inline float widen(float x) { return x; }
__device__ inline float widen(bfloat16 x) { return __uint_as_float(static_cast<unsigned>(x.bits) << 16); }

__device__ inline void narrow(float x, float* to) { *to = x; }

// To the nearest, ties to even.
__device__ inline void narrow(float x, bfloat16* to) {
  const unsigned bits = __float_as_uint(x);
  const unsigned rounded = bits + 0x7fffu + ((bits >> 16) & 1u);
  to->bits = x == x ? static_cast<unsigned short>(rounded >> 16) : static_cast<unsigned short>(0x7fc0);
}

// values[k], each summed over all threads of the block, which are whole warps, in a fixed order. All of them call it together.
template <int K>
__device__ inline void add_over_block(float (&values)[K]) {
  __shared__ float sums[kThreadsMax / kWarp][K];
  for (int k = 0; k < K; k++) {
    for (int lane = kWarp / 2; lane > 0; lane /= 2) values[k] += __shfl_xor_sync(0xffffffffu, values[k], lane);
  }
  if (threadIdx.x % kWarp == 0) {
    for (int k = 0; k < K; k++) sums[threadIdx.x / kWarp][k] = values[k];
  }
  __syncthreads();
  for (int k = 0; k < K; k++) values[k] = 0.0f;
  for (unsigned warp = 0; warp < blockDim.x / kWarp; warp++) {
    for (int k = 0; k < K; k++) values[k] += sums[warp][k];
  }
  // Until here `sums` is read, and the next call writes it.
  __syncthreads();
}
