// Stochastic rounding of float32 to bfloat16. The draw of an element depends only on the seed, the update and the
// element's number.

// MurmurHash3's finaliser (A. Appleby).
__device__ inline unsigned mix(unsigned h) {
  h ^= h >> 16;
  h *= 0x85ebca6bu;
  h ^= h >> 13;
  h *= 0xc2b2ae35u;
  return h ^ (h >> 16);
}

// 32 bits that depend on the seed, folded to 32 bits, and the update, a whole number.
__device__ inline unsigned rounding_key(long long seed, float update) {
  return mix(mix(static_cast<unsigned>(static_cast<long long>(update) + seed)) + 1u);
}

// Rounds x, which is element `number` of the model.
__device__ inline bfloat16 rounded_by_chance(float x, long long number, unsigned key) {
  const unsigned bits = __float_as_uint(x);
  const unsigned random = mix(static_cast<unsigned>(number) * 0x9e3779b1u + key) & 0xffffu;
  // Infinities and NaN have no neighbour to be rounded to.
  const bool is_finite = (bits & 0x7f800000u) != 0x7f800000u;
  return {static_cast<unsigned short>((bits + (is_finite ? random : 0u)) >> 16)};
}

// Element i is number first + i of the model.
extern "C" __global__ void round_stochastically(const float* from, bfloat16* to, long long n, long long first,
                                                long long seed, const float* update) {
  const unsigned key = rounding_key(seed, *update);
  const long long stride = static_cast<long long>(gridDim.x) * blockDim.x;
  for (long long i = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += stride) {
    to[i] = rounded_by_chance(from[i], first + i, key);
  }
}
