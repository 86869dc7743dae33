// LayerNorm (Ba et al., 2016) of a residual stream that a branch is added to first, and its backward.
// Columns are a multiple of a pack.

// Limit of the packs in a row; also in src/kernels/layer_norm/on_gpu.rs.
constexpr int kRowPacksMax = 256;

// Threads in a block of forward, with so few registers that some blocks share a multiprocessor.
constexpr int kForwardThreads = 128, kForwardBlocks = 5;

// A warp for each row of x [rows, columns]. Branch [rows, columns] and its bias [columns] are added to the row, and
// the sum is kept; either may be null. y becomes the normalised form of the sum; mean, rstd: [rows].
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
  // All loads of a row start before the first value is used.
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

// Backward: the limit of the threads in a block, the number of blocks that the registers allow on a multiprocessor at
// once, and the number of rows that a block takes at once, so that its threads wait for each other less often.
// src/kernels/layer_norm/on_gpu.rs has the last one, too.
constexpr int kBackwardThreadsMax = kRowPacksMax, kBackwardBlocks = 2, kRowsAtOnce = 2;

// A block is as wide as a row, and each thread has one pack of its columns; blocks share the rows. dx [rows, columns]
// becomes the gradient of x, given the gradient of y, plus dresidual, which may be null. sums [blocks, 3, columns]:
// what this block's rows add to the gradients of weight and bias, and the sum of its rows of dx, before they are
// rounded.
extern "C" __global__ void __launch_bounds__(kBackwardThreadsMax, kBackwardBlocks)
layer_norm_backward_bfloat16(const bfloat16* dy, const bfloat16* x, const float* mean, const float* rstd,
                             const bfloat16* weight, const bfloat16* dresidual, bfloat16* dx, float* sums,
                             long long rows, long long columns) {
  using P = Pack<bfloat16>;
  // Rows that the block works on, and rows that are being loaded.
  __shared__ P fetched[2][kRowsAtOnce][2][kBackwardThreadsMax];
  const long long column = static_cast<long long>(threadIdx.x) * P::kSize;
  const bool has_columns = column < columns;
  const float share = 1.0f / columns;
  float dweight[P::kSize] = {}, dbias[P::kSize] = {}, total[P::kSize] = {};
  P packed_weights = {};
  if (has_columns) packed_weights = *pack(weight + column);
  // Returns the number of rows from `first` on, at most kRowsAtOnce, that this thread works on.
  const auto count = [&](long long first) {
    const long long left = has_columns && first < rows ? rows - first : 0;
    return left < kRowsAtOnce ? static_cast<int>(left) : kRowsAtOnce;
  };
  float next_mean[kRowsAtOnce] = {}, next_rstd[kRowsAtOnce] = {};
  const auto fetch = [&](long long first, int place) {
    const long long at = first * columns + column;
    const int here = count(first);
    for (int r = 0; r < kRowsAtOnce; r++) {
      if (r >= here) break;
      start_copy(pack(x + at + r * columns), &fetched[place][r][0][threadIdx.x]);
      start_copy(pack(dy + at + r * columns), &fetched[place][r][1][threadIdx.x]);
      next_mean[r] = mean[first + r];
      next_rstd[r] = rstd[first + r];
    }
    close_copies();
  };
  const long long step = static_cast<long long>(gridDim.x) * kRowsAtOnce;
  long long first = static_cast<long long>(blockIdx.x) * kRowsAtOnce;
  fetch(first, 0);
  for (int place = 0; first < rows; first += step, place = 1 - place) {
    const long long at = first * columns + column;
    const int here = count(first);
    float scale[kRowsAtOnce], shift[kRowsAtOnce];
    P in[kRowsAtOnce], of_y[kRowsAtOnce], residual[kRowsAtOnce] = {};
    for (int r = 0; r < kRowsAtOnce; r++) {
      scale[r] = next_rstd[r];
      shift[r] = -next_mean[r] * next_rstd[r];
      if (r < here && dresidual != nullptr) residual[r] = *pack(dresidual + at + r * columns);
    }
    fetch(first + step, 1 - place);
    finish_copies<1>();
    // For each row, the sums of g = dy * weight and of g * x.
    Pack<float> parts = {};
    for (int r = 0; r < kRowsAtOnce; r++) {
      if (r >= here) break;
      in[r] = fetched[place][r][0][threadIdx.x];
      of_y[r] = fetched[place][r][1][threadIdx.x];
      const auto numbers = widen(in[r]), gradients = widen(of_y[r]), weights = widen(packed_weights);
      for (int j = 0; j < P::kSize; j++) {
        const float g = gradients.at[j] * weights.at[j];
        parts.at[2 * r] += g;
        parts.at[2 * r + 1] += g * numbers.at[j];
      }
    }
    parts = add_over_block<kBackwardThreadsMax>(parts, place);
    for (int r = 0; r < kRowsAtOnce; r++) {
      if (r >= here) break;
      const float of_g = parts.at[2 * r], of_normalised_g = parts.at[2 * r + 1] * scale[r] + of_g * shift[r];
      const float of_all = -of_g * share * scale[r], of_normalised = -of_normalised_g * share * scale[r];
      const auto numbers = widen(in[r]), gradients = widen(of_y[r]), weights = widen(packed_weights);
      auto out = widen(residual[r]);
      for (int j = 0; j < P::kSize; j++) {
        const float normalised = numbers.at[j] * scale[r] + shift[r];
        out.at[j] += (gradients.at[j] * weights.at[j]) * scale[r] + (of_normalised * normalised + of_all);
        dweight[j] += gradients.at[j] * normalised;
        dbias[j] += gradients.at[j];
        total[j] += out.at[j];
      }
      *pack(dx + at + r * columns) = narrow(out);
    }
  }
  if (!has_columns) return;
  float* own = sums + static_cast<long long>(blockIdx.x) * 3 * columns + column;
  for (int j = 0; j < P::kSize; j++) {
    own[j] = dweight[j];
    own[columns + j] = dbias[j];
    own[2 * columns + j] = total[j];
  }
}
