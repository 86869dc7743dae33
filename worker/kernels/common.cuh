// Code that all kernels share. No header is included, so NVRTC needs no folder of headers.
//
// Every kernel takes raw pointers, 64-bit numbers and structs of these; src/kernels/mod.rs has the list. The kernels
// are compiled as C++ too (on_cpu.cpp), so that tests run these sources without a GPU. They use only those parts of
// CUDA's language that are defined there.

// Whether there are instructions for bfloat16 and for copies beside computation: not before sm_80, and not on a CPU.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
#define CONVOY_HAS_SM_80 1
#else
#define CONVOY_HAS_SM_80 0
#endif

constexpr int kThreadsMax = 1024;
constexpr int kWarp = 32;

// The elements that one load of 16 bytes brings.
template <class T>
struct alignas(16) Pack {
  static constexpr int kSize = 16 / sizeof(T);
  T at[kSize];
};

struct bfloat16 {
  unsigned short bits;
};

// Elements at an address that is a multiple of a pack's size.
template <class T>
__device__ inline Pack<T>* pack(T* at) {
  return reinterpret_cast<Pack<T>*>(at);
}
template <class T>
__device__ inline const Pack<T>* pack(const T* at) {
  return reinterpret_cast<const Pack<T>*>(at);
}

// 2^x, with 0 for results that would be denormal.
__device__ inline float power_of_2(float x) {
#ifdef __CUDA_ARCH__
  float power;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(x));
  return power;
#else
  return exp2f(x);
#endif
}

__device__ inline float widen(float x) { return x; }
__device__ inline float widen(bfloat16 x) { return __uint_as_float(static_cast<unsigned>(x.bits) << 16); }

__device__ inline void narrow(float x, float* to) { *to = x; }

// Rounds to the nearest, ties to even.
__device__ inline void narrow(float x, bfloat16* to) {
  const unsigned bits = __float_as_uint(x);
  const unsigned rounded = bits + 0x7fffu + ((bits >> 16) & 1u);
  to->bits = x == x ? static_cast<unsigned short>(rounded >> 16) : static_cast<unsigned short>(0x7fc0);
}

// The elements of a pack as numbers, converted two at a time where a GPU can: memory is so fast that instructions
// count.
template <class T>
struct Numbers {
  float at[Pack<T>::kSize];
};

__device__ inline Numbers<float> widen(const Pack<float>& from) {
  return {from.at[0], from.at[1], from.at[2], from.at[3]};
}

__device__ inline Numbers<bfloat16> widen(const Pack<bfloat16>& from) {
  Numbers<bfloat16> numbers;
  const unsigned* pairs = reinterpret_cast<const unsigned*>(&from);
  for (int i = 0; i < Pack<bfloat16>::kSize / 2; i++) {
    numbers.at[2 * i] = __uint_as_float(pairs[i] << 16);
    numbers.at[2 * i + 1] = __uint_as_float(pairs[i] & 0xffff0000u);
  }
  return numbers;
}

__device__ inline Pack<float> narrow(const Numbers<float>& from) {
  return {from.at[0], from.at[1], from.at[2], from.at[3]};
}

__device__ inline Pack<bfloat16> narrow(const Numbers<bfloat16>& from) {
  Pack<bfloat16> rounded;
#if CONVOY_HAS_SM_80
  unsigned* pairs = reinterpret_cast<unsigned*>(&rounded);
  for (int i = 0; i < Pack<bfloat16>::kSize / 2; i++) {
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pairs[i]) : "f"(from.at[2 * i + 1]), "f"(from.at[2 * i]));
  }
#else
  for (int i = 0; i < Pack<bfloat16>::kSize; i++) narrow(from.at[i], &rounded.at[i]);
#endif
  return rounded;
}

// Copies a pack to shared memory while the thread goes on. Each close_copies() makes a group of the copies started
// since the last one. finish_copies<N>() waits until all of this thread's groups except the last N have arrived, for
// this thread to read.
template <class T>
__device__ inline void start_copy(const Pack<T>* from, Pack<T>* to) {
#if CONVOY_HAS_SM_80
  const unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(to));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(address), "l"(from) : "memory");
#else
  *to = *from;
#endif
}
__device__ inline void close_copies() {
#if CONVOY_HAS_SM_80
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}
template <int N>
__device__ inline void finish_copies() {
#if CONVOY_HAS_SM_80
  asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
#endif
}

// Returns the sum over a warp to all of its threads.
__device__ inline float add_over_warp(float value) {
  for (int lane = kWarp / 2; lane > 0; lane /= 2) value += __shfl_xor_sync(0xffffffffu, value, lane);
  return value;
}

// Sums each value over all threads of the block, which are whole warps and at most kThreads, in a fixed order. All
// threads call it together, and with another buffer, 0 or 1, than the last time: a thread may still be reading that
// of the last.
template <int kThreads>
__device__ inline Pack<float> add_over_block(Pack<float> values, int buffer) {
  __shared__ Pack<float> of_warps[2][kThreads / kWarp];
  for (int k = 0; k < Pack<float>::kSize; k++) values.at[k] = add_over_warp(values.at[k]);
  if (threadIdx.x % kWarp == 0) of_warps[buffer][threadIdx.x / kWarp] = values;
  __syncthreads();
  values = of_warps[buffer][0];
  for (int warp = 1; warp < kThreads / kWarp; warp++) {
    if (warp * kWarp >= static_cast<int>(blockDim.x)) break;
    const Pack<float> others = of_warps[buffer][warp];
    for (int k = 0; k < Pack<float>::kSize; k++) values.at[k] += others.at[k];
  }
  return values;
}
