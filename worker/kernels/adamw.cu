// AdamW (Loshchilov and Hutter, 2019) over a flat range of n elements, in place. What decides about the update is read on the
// device: the number of the update, from 1, what the gradients are divided by, and 1 where nothing is to be updated.

struct AdamWConstants {
  double learning_rate, beta1, beta2, weight_decay, epsilon;
};

template <class G>
__device__ inline void adamw(float* parameters, const G* gradients, float* exp_avg, float* exp_avg_sq, long long n,
                             const float* step, const float* grad_scale, const float* skip, AdamWConstants constants) {
  // Powers in float64 are slow on some GPUs: one thread of a block computes them.
  __shared__ float step_size, root_bias_2;
  if (*skip != 0.0f) return;
  if (threadIdx.x == 0) {
    step_size = static_cast<float>(constants.learning_rate / (1.0 - pow(constants.beta1, static_cast<double>(*step))));
    root_bias_2 = static_cast<float>(sqrt(1.0 - pow(constants.beta2, static_cast<double>(*step))));
  }
  __syncthreads();
  const float grad_factor = 1.0f / *grad_scale;
  const float decay = static_cast<float>(1.0 - constants.learning_rate * constants.weight_decay);
  const float beta1 = static_cast<float>(constants.beta1), beta2 = static_cast<float>(constants.beta2);
  const float epsilon = static_cast<float>(constants.epsilon);
  const long long stride = static_cast<long long>(gridDim.x) * blockDim.x;
  for (long long i = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += stride) {
    const float gradient = widen(gradients[i]) * grad_factor;
    const float m = exp_avg[i] + (1.0f - beta1) * (gradient - exp_avg[i]);
    const float v = beta2 * exp_avg_sq[i] + (1.0f - beta2) * gradient * gradient;
    exp_avg[i] = m;
    exp_avg_sq[i] = v;
    parameters[i] = parameters[i] * decay - step_size * (m / (sqrtf(v) / root_bias_2 + epsilon));
  }
}

extern "C" __global__ void adamw_float32(float* parameters, const float* gradients, float* exp_avg, float* exp_avg_sq,
                                         long long n, const float* step, const float* grad_scale, const float* skip,
                                         AdamWConstants constants) {
  adamw(parameters, gradients, exp_avg, exp_avg_sq, n, step, grad_scale, skip, constants);
}

extern "C" __global__ void adamw_bfloat16(float* parameters, const bfloat16* gradients, float* exp_avg,
                                          float* exp_avg_sq, long long n, const float* step, const float* grad_scale,
                                          const float* skip, AdamWConstants constants) {
  adamw(parameters, gradients, exp_avg, exp_avg_sq, n, step, grad_scale, skip, constants);
}
