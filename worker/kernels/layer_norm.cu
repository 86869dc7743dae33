// LayerNorm (Ba et al., 2016) of a residual stream that a branch is added to first, and its backward. A thread has the same columns,
// one pack of them, in every row: a block is as wide as a row, and takes some rows at once.

// Rows under way at once: so many loads before the first is needed.
constexpr int kForwardRows = 2, kBackwardRows = 1;
// Threads of a block at most, and so few registers that some blocks share a multiprocessor.
constexpr int kRowThreadsMax = 256, kForwardBlocks = 4, kBackwardBlocks = 4;

// x [rows, columns] plus branch, which may be null, is kept in sum, if there is a branch; y is its normalised form.
// mean, rstd: [rows]. Columns are a multiple of a pack.
extern "C" __global__ void __launch_bounds__(kRowThreadsMax, kForwardBlocks)
layer_norm_bfloat16(const bfloat16* x, const bfloat16* branch, const bfloat16* weight,
                                               const bfloat16* bias, bfloat16* sum, bfloat16* y, float* mean,
                                               float* rstd, long long rows, long long columns, double epsilon) {
  using P = Pack<bfloat16>;
  const long long column = static_cast<long long>(threadIdx.x) * P::kSize;
  const bool has_columns = column < columns;
  const float share = 1.0f / columns;
  P w = {}, b = {};
  if (has_columns) {
    w = *pack(weight + column);
    b = *pack(bias + column);
  }
  const long long stride = static_cast<long long>(gridDim.x) * kForwardRows;
  for (long long first = static_cast<long long>(blockIdx.x) * kForwardRows; first < rows; first += stride) {
    P in[kForwardRows] = {}, add[kForwardRows] = {};
    for (int r = 0; r < kForwardRows; r++) {
      if (!has_columns || first + r >= rows) continue;
      in[r] = *pack(x + (first + r) * columns + column);
      if (branch != nullptr) add[r] = *pack(branch + (first + r) * columns + column);
    }
    float means[kForwardRows] = {}, squares[kForwardRows] = {};
    for (int r = 0; r < kForwardRows; r++) {
      if (!has_columns || first + r >= rows) continue;
      if (branch != nullptr) {
        for (int j = 0; j < P::kSize; j++) narrow(widen(in[r].at[j]) + widen(add[r].at[j]), &in[r].at[j]);
        *pack(sum + (first + r) * columns + column) = in[r];
      }
      for (int j = 0; j < P::kSize; j++) means[r] += widen(in[r].at[j]);
    }
    add_over_block(means);
    for (int r = 0; r < kForwardRows; r++) {
      renew(in[r]);
      means[r] *= share;
      if (!has_columns) continue;
      for (int j = 0; j < P::kSize; j++) {
        const float centred = widen(in[r].at[j]) - means[r];
        squares[r] += centred * centred;
      }
    }
    add_over_block(squares);
    for (int r = 0; r < kForwardRows; r++) {
      renew(in[r]);
      if (!has_columns || first + r >= rows) continue;
      const float scale = 1.0f / sqrtf(squares[r] * share + static_cast<float>(epsilon));
      P out;
      for (int j = 0; j < P::kSize; j++) {
        narrow((widen(in[r].at[j]) - means[r]) * scale * widen(w.at[j]) + widen(b.at[j]), &out.at[j]);
      }
      *pack(y + (first + r) * columns + column) = out;
      if (threadIdx.x == 0) {
        mean[first + r] = means[r];
        rstd[first + r] = scale;
      }
    }
  }
}

// dx [rows, columns] becomes the gradient of x, given that of y, plus dresidual, which may be null. sums [blocks, 3, columns]: what
// this block's rows add to the gradients of weight and bias, and the sum of its rows of dx.
extern "C" __global__ void __launch_bounds__(kRowThreadsMax, kBackwardBlocks)
layer_norm_backward_bfloat16(const bfloat16* dy, const bfloat16* x, const float* mean,
                                                        const float* rstd, const bfloat16* weight,
                                                        const bfloat16* dresidual, bfloat16* dx, float* sums,
                                                        long long rows, long long columns) {
  using P = Pack<bfloat16>;
  const long long column = static_cast<long long>(threadIdx.x) * P::kSize;
  const bool has_columns = column < columns;
  float dweight[P::kSize] = {}, dbias[P::kSize] = {}, total[P::kSize] = {};
  const float share = 1.0f / columns;
  P w = {};
  if (has_columns) w = *pack(weight + column);
  const long long stride = static_cast<long long>(gridDim.x) * kBackwardRows;
  for (long long first = static_cast<long long>(blockIdx.x) * kBackwardRows; first < rows; first += stride) {
    P in[kBackwardRows] = {}, gradient[kBackwardRows] = {}, residual[kBackwardRows] = {};
    float means[kBackwardRows] = {}, scales[kBackwardRows] = {};
    for (int r = 0; r < kBackwardRows; r++) {
      if (!has_columns || first + r >= rows) continue;
      in[r] = *pack(x + (first + r) * columns + column);
      gradient[r] = *pack(dy + (first + r) * columns + column);
      if (dresidual != nullptr) residual[r] = *pack(dresidual + (first + r) * columns + column);
      means[r] = mean[first + r];
      scales[r] = rstd[first + r];
    }
    // Of a row: the sum of g = dy * weight, and that of g times the normalised x.
    float parts[2 * kBackwardRows] = {};
    for (int r = 0; r < kBackwardRows; r++) {
      for (int j = 0; j < P::kSize; j++) {
        const float normalised = (widen(in[r].at[j]) - means[r]) * scales[r];
        const float g = widen(gradient[r].at[j]) * widen(w.at[j]);
        parts[2 * r] += g;
        parts[2 * r + 1] += g * normalised;
      }
    }
    add_over_block(parts);
    renew(w);
    for (int r = 0; r < kBackwardRows; r++) {
      renew(in[r]);
      renew(gradient[r]);
      if (!has_columns || first + r >= rows) continue;
      P out;
      for (int j = 0; j < P::kSize; j++) {
        const float normalised = (widen(in[r].at[j]) - means[r]) * scales[r];
        const float of_y = widen(gradient[r].at[j]);
        const float centred = of_y * widen(w.at[j]) - (parts[2 * r] + normalised * parts[2 * r + 1]) * share;
        narrow(scales[r] * centred + widen(residual[r].at[j]), &out.at[j]);
        dweight[j] += of_y * normalised;
        dbias[j] += of_y;
        total[j] += widen(out.at[j]);
      }
      *pack(dx + (first + r) * columns + column) = out;
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
