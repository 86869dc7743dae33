// LayerNorm (Ba et al., 2016) of a residual stream that a branch is added to first, and its backward. A block is as wide as a row: a
// thread has one pack of its columns, which are a multiple of a pack.

// Threads of a block at most (src/kernels/cuda/layers.rs has it, too), and so few registers that some blocks share a multiprocessor.
constexpr int kRowThreadsMax = 256, kForwardBlocks = 6, kBackwardBlocks = 3;

// A block for each row of x [rows, columns]. Branch [rows, columns] and its bias [columns] are added to it, and the sum is kept;
// either may be null. y becomes its normalised form; mean, rstd: [rows].
extern "C" __global__ void __launch_bounds__(kRowThreadsMax, kForwardBlocks)
layer_norm_bfloat16(const bfloat16* x, const bfloat16* branch, const bfloat16* branch_bias, const bfloat16* weight,
                    const bfloat16* bias, bfloat16* sum, bfloat16* y, float* mean, float* rstd, long long columns,
                    double epsilon) {
  using P = Pack<bfloat16>;
  const long long column = static_cast<long long>(threadIdx.x) * P::kSize;
  const long long at = blockIdx.x * columns + column;
  const bool has_columns = column < columns;
  const float share = 1.0f / columns;
  P in = {}, w = {}, b = {};
  float total[1] = {}, squares[1] = {};
  if (has_columns) {
    in = *pack(x + at);
    w = *pack(weight + column);
    b = *pack(bias + column);
    if (branch != nullptr) {
      const P added = *pack(branch + at);
      P of_branch = {};
      if (branch_bias != nullptr) of_branch = *pack(branch_bias + column);
      for (int j = 0; j < P::kSize; j++) {
        narrow(widen(in.at[j]) + (widen(added.at[j]) + widen(of_branch.at[j])), &in.at[j]);
      }
      *pack(sum + at) = in;
    }
    for (int j = 0; j < P::kSize; j++) total[0] += widen(in.at[j]);
  }
  add_over_block(total);
  const float average = total[0] * share;
  if (has_columns) {
    for (int j = 0; j < P::kSize; j++) squares[0] += (widen(in.at[j]) - average) * (widen(in.at[j]) - average);
  }
  add_over_block(squares);
  const float scale = 1.0f / sqrtf(squares[0] * share + static_cast<float>(epsilon));
  if (has_columns) {
    P out;
    for (int j = 0; j < P::kSize; j++) {
      narrow((widen(in.at[j]) - average) * scale * widen(w.at[j]) + widen(b.at[j]), &out.at[j]);
    }
    *pack(y + at) = out;
  }
  if (threadIdx.x == 0) {
    mean[blockIdx.x] = average;
    rstd[blockIdx.x] = scale;
  }
}

// What a thread reads of a row in backward.
struct BackwardRow {
  Pack<bfloat16> x, dy, dresidual;
  float mean, rstd;
};

// dx [rows, columns] becomes the gradient of x, given that of y, plus dresidual, which may be null. sums [blocks, 3, columns]: what
// this block's rows add to the gradients of weight and bias, and the sum of its rows of dx.
extern "C" __global__ void __launch_bounds__(kRowThreadsMax, kBackwardBlocks)
layer_norm_backward_bfloat16(const bfloat16* dy, const bfloat16* x, const float* mean, const float* rstd,
                             const bfloat16* weight, const bfloat16* dresidual, bfloat16* dx, float* sums,
                             long long rows, long long columns) {
  using P = Pack<bfloat16>;
  const long long column = static_cast<long long>(threadIdx.x) * P::kSize;
  const bool has_columns = column < columns;
  const float share = 1.0f / columns;
  float dweight[P::kSize] = {}, dbias[P::kSize] = {}, total[P::kSize] = {};
  P w = {};
  if (has_columns) w = *pack(weight + column);
  const auto read = [&](long long row) {
    BackwardRow of = {};
    if (!has_columns || row >= rows) return of;
    of.x = *pack(x + row * columns + column);
    of.dy = *pack(dy + row * columns + column);
    if (dresidual != nullptr) of.dresidual = *pack(dresidual + row * columns + column);
    of.mean = mean[row];
    of.rstd = rstd[row];
    return of;
  };
  BackwardRow next = read(blockIdx.x);
  for (long long row = blockIdx.x; row < rows; row += gridDim.x) {
    // The next row is on its way while this one waits for the other threads.
    BackwardRow own = next;
    next = read(row + gridDim.x);
    // The sum of g = dy * weight, and that of g times the normalised x.
    float parts[2] = {};
    for (int j = 0; j < P::kSize; j++) {
      const float normalised = (widen(own.x.at[j]) - own.mean) * own.rstd;
      const float g = widen(own.dy.at[j]) * widen(w.at[j]);
      parts[0] += g;
      parts[1] += g * normalised;
    }
    add_over_block(parts);
    if (!has_columns) continue;
    // Registers are short: what was computed of the row is computed again.
    renew(own.x);
    renew(own.dy);
    renew(w);
    P out;
    for (int j = 0; j < P::kSize; j++) {
      const float normalised = (widen(own.x.at[j]) - own.mean) * own.rstd;
      const float of_y = widen(own.dy.at[j]);
      const float centred = of_y * widen(w.at[j]) - (parts[0] + normalised * parts[1]) * share;
      narrow(own.rstd * centred + widen(own.dresidual.at[j]), &out.at[j]);
      dweight[j] += of_y * normalised;
      dbias[j] += of_y;
      total[j] += widen(out.at[j]);
    }
    *pack(dx + row * columns + column) = out;
  }
  if (!has_columns) return;
  float* own = sums + static_cast<long long>(blockIdx.x) * 3 * columns + column;
  for (int j = 0; j < P::kSize; j++) {
    own[j] = dweight[j];
    own[columns + j] = dbias[j];
    own[2 * columns + j] = total[j];
  }
}
