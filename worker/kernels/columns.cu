// Gradients [rows, columns] of bfloat16 and the sums of their columns, a bias's gradient. Columns are a multiple of a
// pack.

// Limit of the threads in a block; src/kernels/columns/on_gpu.rs launches this many.
constexpr int kColumnThreadsMax = 256;

// Each thread keeps to one pack of columns, and the packs of a warp are adjacent. A block is as wide as a warp's
// packs, and each of its warps takes other rows. Blocks cover the columns side by side, in several strips that share
// the rows.
// make(row, column) returns a pack, after storing it where it belongs; sums: [strips, columns].
template <class Make>
__device__ inline void with_column_sums(float* sums, long long rows, long long columns, Make make) {
  using P = Pack<bfloat16>;
  __shared__ float of_threads[kColumnThreadsMax][P::kSize];
  const long long wide = kWarp * P::kSize;
  const long long across = (columns + wide - 1) / wide;
  const long long strip = blockIdx.x / across, strips = gridDim.x / across;
  const long long left = blockIdx.x % across * wide;
  const long long column = left + threadIdx.x % kWarp * P::kSize;
  const unsigned warps = blockDim.x / kWarp;
  float own[P::kSize] = {};
  if (column < columns) {
    for (long long row = strip * warps + threadIdx.x / kWarp; row < rows; row += strips * warps) {
      const auto made = widen(make(row, column));
      for (int j = 0; j < P::kSize; j++) own[j] += made.at[j];
    }
  }
  for (int j = 0; j < P::kSize; j++) of_threads[threadIdx.x][j] = own[j];
  __syncthreads();
  for (long long i = threadIdx.x; i < wide && left + i < columns; i += blockDim.x) {
    float sum = 0.0f;
    for (unsigned warp = 0; warp < warps; warp++) sum += of_threads[warp * kWarp + i / P::kSize][i % P::kSize];
    sums[strip * columns + left + i] = sum;
  }
}

// sums [columns] become the sums of the columns of parts [rows, columns], in a fixed order. Each warp covers a warp's
// width of columns, and the warps of a block take different rows of them.
extern "C" __global__ void sum_columns(const float* parts, float* sums, long long rows, long long columns) {
  __shared__ float of_warps[kThreadsMax / kWarp][kWarp];
  const long long column = static_cast<long long>(blockIdx.x) * kWarp + threadIdx.x % kWarp;
  const unsigned warp = threadIdx.x / kWarp, warps = blockDim.x / kWarp;
  float sum = 0.0f;
  if (column < columns) {
    for (long long row = warp; row < rows; row += warps) sum += parts[row * columns + column];
  }
  of_warps[warp][threadIdx.x % kWarp] = sum;
  __syncthreads();
  if (warp > 0 || column >= columns) return;
  for (unsigned other = 1; other < warps; other++) sum += of_warps[other][threadIdx.x];
  sums[column] = sum;
}

// Sums the columns of a tensor as it is.
extern "C" __global__ void column_sums_bfloat16(const bfloat16* x, float* sums, long long rows, long long columns) {
  with_column_sums(sums, rows, columns, [&](long long row, long long column) { return *pack(x + row * columns + column); });
}

// out: [rows, columns], three parts [rows, columns / 3] side by side. A part's columns are a multiple of a pack, too.
extern "C" __global__ void join_bfloat16(const bfloat16* first, const bfloat16* second, const bfloat16* third,
                                         bfloat16* out, float* sums, long long rows, long long columns) {
  const long long width = columns / 3;
  with_column_sums(sums, rows, columns, [&](long long row, long long column) {
    const bfloat16* part = column < width ? first : column < 2 * width ? second : third;
    const Pack<bfloat16> made = *pack(part + row * width + column % width);
    *pack(out + row * columns + column) = made;
    return made;
  });
}
