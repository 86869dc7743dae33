// LayerNorm (Ba et al., 2016) of a residual stream that a branch is added to first, and its backward. Columns are a multiple of a pack.

// Packs of a row at most; src/kernels/cuda/layers.rs has it, too.
constexpr int kRowPacksMax = 256;

// Of forward: threads of a block, and so few registers that some blocks share a multiprocessor.
constexpr int kForwardThreads = 128, kForwardBlocks = 5;

// The sum over a warp, for all of its threads.
__device__ inline float add_over_warp(float value) {
  for (int lane = kWarp / 2; lane > 0; lane /= 2) value += __shfl_xor_sync(0xffffffffu, value, lane);
  return value;
}

// A warp for each row of x [rows, columns]. Branch [rows, columns] and its bias [columns] are added to it, and the sum is kept; either
// may be null. y becomes its normalised form; mean, rstd: [rows].
extern "C" __global__ void __launch_bounds__(kForwardThreads, kForwardBlocks)
layer_norm_bfloat16(const bfloat16* x, const bfloat16* branch, const bfloat16* branch_bias, const bfloat16* weight,
                    const bfloat16* bias, bfloat16* sum, bfloat16* y, float* mean, float* rstd, long long rows,
                    long long columns, double epsilon) {
  using P = Pack<bfloat16>;
  constexpr int kPacks = kRowPacksMax / kWarp;
  const int lane = threadIdx.x % kWarp, packs = static_cast<int>(columns / P::kSize);
  const long long row = static_cast<long long>(blockIdx.x) * (blockDim.x / kWarp) + threadIdx.x / kWarp;
  if (row >= rows) return;
  const long long start = row * columns;
  P in[kPacks] = {}, added[kPacks] = {};
  // All of it is on its way before the first is looked at.
  for (int i = 0, p = lane; i < kPacks; i++, p += kWarp) {
    if (p >= packs) continue;
    in[i] = pack(x + start)[p];
    if (branch != nullptr) added[i] = pack(branch + start)[p];
  }
  float total = 0.0f, squares = 0.0f;
  for (int i = 0, p = lane; i < kPacks; i++, p += kWarp) {
    if (p >= packs) continue;
    auto numbers = widen(in[i]);
    if (branch != nullptr) {
      auto of_branch = widen(added[i]);
      if (branch_bias != nullptr) {
        const auto biases = widen(pack(branch_bias)[p]);
        for (int j = 0; j < P::kSize; j++) of_branch.at[j] += biases.at[j];
      }
      for (int j = 0; j < P::kSize; j++) numbers.at[j] += of_branch.at[j];
      in[i] = narrow(numbers);
      pack(sum + start)[p] = in[i];
      numbers = widen(in[i]);
    }
    for (int j = 0; j < P::kSize; j++) total += numbers.at[j];
  }
  const float share = 1.0f / columns, average = add_over_warp(total) * share;
  for (int i = 0, p = lane; i < kPacks; i++, p += kWarp) {
    if (p >= packs) continue;
    const auto numbers = widen(in[i]);
    for (int j = 0; j < P::kSize; j++) squares += (numbers.at[j] - average) * (numbers.at[j] - average);
  }
  const float scale = 1.0f / sqrtf(add_over_warp(squares) * share + static_cast<float>(epsilon));
  for (int i = 0, p = lane; i < kPacks; i++, p += kWarp) {
    if (p >= packs) continue;
    auto numbers = widen(in[i]);
    const auto weights = widen(pack(weight)[p]), biases = widen(pack(bias)[p]);
    for (int j = 0; j < P::kSize; j++) numbers.at[j] = (numbers.at[j] - average) * scale * weights.at[j] + biases.at[j];
    pack(y + start)[p] = narrow(numbers);
  }
  if (lane == 0) {
    mean[row] = average;
    rstd[row] = scale;
  }
}

// Of backward: threads of a block at most, how many blocks the registers let share a multiprocessor, and rows in a block's shared memory: the one
// that it is at, and those on their way.
constexpr int kBackwardThreadsMax = kRowPacksMax, kBackwardBlocks = 4, kRowsAtOnce = 3;

// A block is as wide as a row, and a thread has one pack of its columns; blocks share the rows.
// dx [rows, columns] becomes the gradient of x, given that of y, plus dresidual, which may be null. sums [blocks, 3, columns]: what
// this block's rows add to the gradients of weight and bias, and the sum of its rows of dx.
extern "C" __global__ void __launch_bounds__(kBackwardThreadsMax, kBackwardBlocks)
layer_norm_backward_bfloat16(const bfloat16* dy, const bfloat16* x, const float* mean, const float* rstd,
                             const bfloat16* weight, const bfloat16* dresidual, bfloat16* dx, float* sums,
                             long long rows, long long columns) {
  using P = Pack<bfloat16>;
  __shared__ P fetched[kRowsAtOnce][3][kBackwardThreadsMax];
  const long long column = static_cast<long long>(threadIdx.x) * P::kSize;
  const bool has_columns = column < columns;
  const float share = 1.0f / columns;
  float dweight[P::kSize] = {}, dbias[P::kSize] = {}, total[P::kSize] = {};
  P w = {};
  if (has_columns) w = *pack(weight + column);
  const auto fetch = [&](long long row, int place) {
    if (has_columns && row < rows) {
      const long long at = row * columns + column;
      start_copy(pack(x + at), &fetched[place][0][threadIdx.x]);
      start_copy(pack(dy + at), &fetched[place][1][threadIdx.x]);
      if (dresidual != nullptr) start_copy(pack(dresidual + at), &fetched[place][2][threadIdx.x]);
    }
    close_copies();
  };
  int place = 0;
  for (int ahead = 0; ahead < kRowsAtOnce - 1; ahead++) fetch(blockIdx.x + static_cast<long long>(ahead) * gridDim.x, ahead);
  float next_mean = mean[blockIdx.x], next_rstd = rstd[blockIdx.x];
  int buffer = 0;
  for (long long row = blockIdx.x; row < rows; row += gridDim.x) {
    fetch(row + static_cast<long long>(kRowsAtOnce - 1) * gridDim.x, (place + kRowsAtOnce - 1) % kRowsAtOnce);
    finish_copies<kRowsAtOnce - 1>();
    const float own_mean = next_mean, own_rstd = next_rstd;
    if (row + gridDim.x < rows) {
      next_mean = mean[row + gridDim.x];
      next_rstd = rstd[row + gridDim.x];
    }
    const float shift = -own_mean * own_rstd;
    // The sum of g = dy * weight, and that of g times the normalised x.
    float parts[2] = {};
    if (has_columns) {
      const auto in = widen(fetched[place][0][threadIdx.x]), of_y = widen(fetched[place][1][threadIdx.x]);
      const auto weights = widen(w);
      for (int j = 0; j < P::kSize; j++) {
        const float g = of_y.at[j] * weights.at[j];
        parts[0] += g;
        parts[1] += g * (in.at[j] * own_rstd + shift);
      }
    }
    add_over_block(parts, buffer);
    if (has_columns) {
      // Registers are short: what was computed of the row is read and computed again.
      const auto in = widen(fetched[place][0][threadIdx.x]), of_y = widen(fetched[place][1][threadIdx.x]);
      const auto weights = widen(w);
      const float of_all = -parts[0] * share * own_rstd, of_normalised = -parts[1] * share * own_rstd;
      Numbers<bfloat16> out = {};
      if (dresidual != nullptr) out = widen(fetched[place][2][threadIdx.x]);
      for (int j = 0; j < P::kSize; j++) {
        const float normalised = in.at[j] * own_rstd + shift;
        out.at[j] += (of_y.at[j] * weights.at[j]) * own_rstd + (of_normalised * normalised + of_all);
        dweight[j] += of_y.at[j] * normalised;
        dbias[j] += of_y.at[j];
      }
      const P rounded = narrow(out);
      out = widen(rounded);
      for (int j = 0; j < P::kSize; j++) total[j] += out.at[j];
      *pack(dx + row * columns + column) = rounded;
    }
    place = (place + 1) % kRowsAtOnce;
    buffer = 1 - buffer;
  }
  if (!has_columns) return;
  float* own = sums + static_cast<long long>(blockIdx.x) * 3 * columns + column;
  for (int j = 0; j < P::kSize; j++) {
    own[j] = dweight[j];
    own[columns + j] = dbias[j];
    own[2 * columns + j] = total[j];
  }
}
