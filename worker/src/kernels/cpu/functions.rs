//! Declarations of the CPU's kernels; each is described where it is defined, in `worker/libtorch`.

use std::ffi::c_void;

unsafe extern "C" {
    pub fn convoy_cpu_each_in_turn(
        tasks: i64,
        task: extern "C" fn(context: *const c_void, number: i64),
        context: *const c_void,
    );
    pub fn convoy_cpu_causal_exp(scores: *mut f32, rows: i64, columns: i64, sums: *mut f32, log_sum_exp: *mut f32);
    pub fn convoy_cpu_causal_softmax_backward(
        scores: *mut f32,
        dscores: *mut f32,
        rows: i64,
        columns: i64,
        log_sum_exp: *const f32,
        sums: *const f32,
    );
    pub fn convoy_cpu_gelu(x: *const f32, y: *mut f32, n: i64);
    pub fn convoy_cpu_gelu_backward(x: *const f32, dy: *const f32, dx: *mut f32, n: i64);
    pub fn convoy_cpu_cross_entropy(
        logits: *mut f32,
        targets: *const i64,
        losses: *mut f64,
        rows: i64,
        stride: i64,
        vocabulary: i64,
        scale: f64,
    );
    pub fn convoy_cpu_adamw(
        parameters: *mut f32,
        gradients: *const f32,
        exp_avg: *mut f32,
        exp_avg_sq: *mut f32,
        n: i64,
        step: f64,
        learning_rate: f64,
        beta1: f64,
        beta2: f64,
        weight_decay: f64,
        epsilon: f64,
        grad_factor: f64,
    );
    pub fn convoy_cpu_round_stochastically(from: *const f32, to: *mut u16, n: i64, first: u64, key: u32);
    pub fn convoy_cpu_sums_of_squares(x: *const f32, n: i64, part: i64, sums: *mut f64);
    pub fn convoy_cpu_amx_prepare() -> bool;
    pub fn convoy_cpu_amx_pack(
        to: *mut u16,
        from: *const f32,
        lane_stride: i64,
        term_stride: i64,
        lanes: i64,
        terms: i64,
        right: bool,
    );
    pub fn convoy_cpu_amx_multiply(
        out: *mut f32,
        stride: i64,
        rows: i64,
        columns: i64,
        a: *const u16,
        b: *const u16,
        steps: i64,
        add: bool,
    );
    pub fn convoy_cpu_avx2_pack(
        to: *mut f32,
        from: *const f32,
        lane_stride: i64,
        term_stride: i64,
        lanes: i64,
        terms: i64,
        right: bool,
    );
    pub fn convoy_cpu_avx2_multiply(
        out: *mut f32,
        stride: i64,
        rows: i64,
        columns: i64,
        a: *const f32,
        b: *const f32,
        terms: i64,
        add: bool,
    );
}
