//! The CUDA kernels in place of the plain forms: `None` where they do not apply.

#![allow(unsafe_code)]

use crate::engine::cuda::{Grid, Kernel, arguments, gpu, stand_in};
use crate::shim::is_channels_last;
use std::sync::OnceLock;
use tch::{Device, Kind, Tensor};

/// Numbers that one thread handles at a time.
pub(super) const WIDTH: i64 = 8;
/// Times that `affine_relu` does so in a thread.
const EACH: u64 = 4;

/// Whether a kernel may touch these tensors: on a CUDA device new enough, of one kind and shape, channels-last, in whole vectors.
pub(super) fn suits(tensors: &[&Tensor]) -> bool {
    let Some(first) = tensors.first().filter(|first| is_new_enough(first.device())) else { return false };
    let (kind, shape) = (first.kind(), first.size());
    matches!(kind, Kind::Float | Kind::BFloat16)
        && shape.len() == 4
        && shape[1] % WIDTH == 0
        && tensors.iter().all(|t| {
            t.kind() == kind
                && t.size() == shape
                && t.device() == first.device()
                && is_channels_last(t)
                && is_aligned(t)
        })
}

/// `gradient` channels-last, if a kernel may touch it together with `images` and `other`. That of a mean is one number for all pixels.
pub(super) fn suited(gradient: &Tensor, images: &Tensor, other: Option<&Tensor>) -> Option<Tensor> {
    if !suits(&[images]) || gradient.kind() != images.kind() {
        return None;
    }
    let gradient = crate::shim::channels_last(gradient).ok()?;
    let all: Vec<&Tensor> = [Some(images), Some(&gradient), other].into_iter().flatten().collect();
    suits(&all).then_some(gradient)
}

/// The kernels are for compute capability 8.0 and later.
pub(crate) fn is_new_enough(device: Device) -> bool {
    static NEW: OnceLock<bool> = OnceLock::new();
    match device {
        Device::Cuda(n) => *NEW.get_or_init(|| gpu(n).is_ok_and(|gpu| gpu.capability >= 80)),
        Device::Cpu => stand_in::is_here(),
        _ => false,
    }
}

/// For comparisons, and for when something is wrong: with `off` in it libtorch's convolutions serve.
const CONVOLUTIONS: &str = "FOIL_CONV";

/// Whether convolutions of foil's own are wanted.
pub(super) fn convolves() -> bool {
    std::env::var_os(CONVOLUTIONS).is_none_or(|value| value != "off")
}

/// Whether these are `c` numbers as kernels read them.
pub(super) fn is_by_channel(t: &Tensor, c: i64, device: Device) -> bool {
    t.kind() == Kind::Float && t.device() == device && t.size() == [c] && t.is_contiguous()
}

/// Whether it is `size` numbers of `kind` on `device`, one after the other.
pub(crate) fn is_dense(tensor: &Tensor, kind: Kind, size: &[i64], device: Device) -> bool {
    tensor.kind() == kind && tensor.size() == size && tensor.is_contiguous() && tensor.device() == device
}

pub(super) fn of(kind: Kind, bf16: &'static str, f32: &'static str) -> Option<Kernel> {
    // A kernel that cannot be had was already told of by whoever opened the library.
    Kernel::named(if kind == Kind::BFloat16 { bf16 } else { f32 }).ok()
}

/// Whether it can be read 16 bytes at a time; a view may begin anywhere.
pub(super) fn is_aligned(tensor: &Tensor) -> bool {
    (tensor.data_ptr() as usize).is_multiple_of(16)
}

/// Factors by channel as kernels read them.
fn whole(values: &Tensor, channels: i64) -> Option<Tensor> {
    (values.size() == [channels]).then(|| {
        let values = values.to_kind(Kind::Float).contiguous();
        if is_aligned(&values) { values } else { values.copy() }
    })
}

pub(super) fn affine_relu(xs: &Tensor, scale: Option<&Tensor>, shift: &Tensor) -> Option<Tensor> {
    if !suits(&[xs]) {
        return None;
    }
    let kernel = of(xs.kind(), "affine_relu_bf16", "affine_relu_f32")?;
    let (n, c) = (xs.numel() as i64, xs.size()[1]);
    let apart = (n as u64).div_ceil(EACH * c as u64) as i64 * c;
    let scale = match scale {
        Some(scale) => Some(whole(scale, c)?),
        None => None,
    };
    let (shift, out) = (whole(shift, c)?, xs.empty_like());
    let arguments = arguments![xs, scale.as_ref(), &shift, &out, n, c as i32, apart];
    // # Safety
    // The declaration is (T*, float* or null, float*, T*, long, int, long); `suits` and `whole` have checked kinds, sizes and layout.
    unsafe { kernel.launch(Grid::Each(apart / WIDTH), &arguments) }.ok()?;
    Some(out)
}

/// `xs` `[N, C, H, W]`, channels-last, as `[N, C·H·W]` with one channel after the other.
pub(in crate::nn) fn flatten(xs: &Tensor) -> Option<Tensor> {
    if !suits(&[xs]) {
        return None;
    }
    let (n, c, h, w) = xs.size4().ok()?;
    let out = Tensor::empty([n, c * h * w], (xs.kind(), xs.device()));
    // # Safety
    // `suits` has checked `xs`.
    unsafe { transpose(xs, &out, n, [h * w, c]) }?;
    Some(out)
}

/// The other way round: `flat` in the shape and layout of `like`.
pub(in crate::nn) fn unflatten(flat: &Tensor, like: &Tensor) -> Option<Tensor> {
    let (n, c, h, w) = like.size4().ok()?;
    if !suits(&[like]) || !is_dense(flat, like.kind(), &[n, c * h * w], like.device()) {
        return None;
    }
    let out = like.empty_like();
    // # Safety
    // `suits` and `is_dense` have checked both.
    unsafe { transpose(flat, &out, n, [c, h * w]) }?;
    Some(out)
}

/// # Safety
/// `from` and `to` are `n` matrices of that many rows and columns, and columns and rows, one after the other, of one kind and on one device that kernels run on.
unsafe fn transpose(from: &Tensor, to: &Tensor, n: i64, [rows, columns]: [i64; 2]) -> Option<()> {
    const SIDE: u64 = 32;
    let kernel = of(from.kind(), "transpose_bf16", "transpose_f32")?;
    let squares = (rows as u64).div_ceil(SIDE) * (columns as u64).div_ceil(SIDE);
    let arguments = arguments![from, to, rows as i32, columns as i32];
    // # Safety
    // The declaration is (T*, T*, int, int), by this function's contract.
    unsafe { kernel.launch(Grid::Blocks([squares as i64, n]), &arguments) }.ok()
}

pub(super) fn add_affine_relu(xs: &Tensor, ys: &Tensor, scale: &Tensor, shift: &Tensor) -> Option<(Tensor, Tensor)> {
    if !suits(&[xs, ys]) {
        return None;
    }
    let kernel = of(xs.kind(), "add_affine_relu_bf16", "add_affine_relu_f32")?;
    let (n, c) = (xs.numel() as i64, xs.size()[1]);
    let (scale, shift, sum, out) = (whole(scale, c)?, whole(shift, c)?, xs.empty_like(), xs.empty_like());
    let arguments = arguments![xs, ys, &scale, &shift, &sum, &out, n, c as i32];
    // # Safety
    // The declaration is (T*, T*, float*, float*, T*, T*, long, int), checked as above.
    unsafe { kernel.launch(Grid::Each(n / WIDTH), &arguments) }.ok()?;
    Some((sum, out))
}

pub(super) fn affine_relu_backward(
    gradient: &Tensor,
    out: &Tensor,
    scale: Option<&Tensor>,
    other: Option<&Tensor>,
) -> Option<Tensor> {
    let gradient = suited(gradient, out, other)?;
    let kernel = of(out.kind(), "affine_relu_backward_bf16", "affine_relu_backward_f32")?;
    let (n, c) = (out.numel() as i64, out.size()[1]);
    let scale = match scale {
        Some(scale) => Some(whole(scale, c)?),
        None => None,
    };
    let found = out.empty_like();
    let arguments = arguments![&gradient, out, scale.as_ref(), other, &found, n, c as i32];
    // # Safety
    // The declaration is (T*, T*, float* or null, T* or null, T*, long, int), checked as above.
    unsafe { kernel.launch(Grid::Each(n / WIDTH), &arguments) }.ok()?;
    Some(found)
}

/// max(`xs` · scale + shift + `ys`, 0), where `line` is scale and shift; with `ys_line` `ys` is first scaled and shifted likewise.
pub(super) fn join_relu(xs: &Tensor, line: [&Tensor; 2], ys: &Tensor, ys_line: Option<[&Tensor; 2]>) -> Option<Tensor> {
    if !suits(&[xs, ys]) {
        return None;
    }
    let kernel = of(xs.kind(), "join_relu_bf16", "join_relu_f32")?;
    let (n, c, out) = (xs.numel() as i64, xs.size()[1], xs.empty_like());
    let [scale, shift] = [whole(line[0], c)?, whole(line[1], c)?];
    let ys_line = match ys_line {
        Some([scale, shift]) => Some([whole(scale, c)?, whole(shift, c)?]),
        None => None,
    };
    let arguments = arguments![
        xs,
        &scale,
        &shift,
        ys,
        ys_line.as_ref().map(|[scale, _]| scale),
        ys_line.as_ref().map(|[_, shift]| shift),
        &out,
        n,
        c as i32
    ];
    // # Safety
    // The declaration is (T*, float*, float*, T*, float*, float*, T*, long, int), where the second pair is null or not; checked as above.
    unsafe { kernel.launch(Grid::Each(n / WIDTH), &arguments) }.ok()?;
    Some(out)
}

/// With masked = (`gradient` + `other`) where `out` > 0: masked · each of `scales` that is there; masked itself if one is not, or if there is none.
pub(super) fn join_relu_backward(
    gradient: &Tensor,
    other: Option<&Tensor>,
    out: &Tensor,
    scales: [Option<&Tensor>; 2],
) -> Option<[Tensor; 2]> {
    let gradient = suited(gradient, out, other)?;
    let kernel = of(out.kind(), "join_relu_backward_bf16", "join_relu_backward_f32")?;
    let (n, c) = (out.numel() as i64, out.size()[1]);
    let mut factors = [None, None];
    for (factor, scale) in factors.iter_mut().zip(scales) {
        if let Some(scale) = scale {
            *factor = Some(whole(scale, c)?);
        }
    }
    let masked = factors.iter().any(Option::is_none).then(|| out.empty_like());
    let scaled = factors.each_ref().map(|factor| factor.as_ref().map(|_| out.empty_like()));
    let arguments = arguments![
        &gradient,
        other,
        out,
        factors[0].as_ref(),
        factors[1].as_ref(),
        masked.as_ref(),
        scaled[0].as_ref(),
        scaled[1].as_ref(),
        n,
        c as i32
    ];
    // # Safety
    // The declaration is (T*, T*, T*, float*, float*, T*, T*, T*, long, int), where all but the first, the third and the last two may be null.
    unsafe { kernel.launch(Grid::Each(n / WIDTH), &arguments) }.ok()?;
    let [x, y] = scaled.map(|scaled| scaled.or_else(|| masked.as_ref().map(Tensor::shallow_clone)));
    Some([x?, y?])
}

pub(super) fn sign_step(xs: &Tensor, gradient: &Tensor, alpha: &Tensor, [low, high]: [&Tensor; 2]) -> Option<Tensor> {
    let all = [xs, gradient, low, high];
    // Element by element, so that any one layout will do if all have it; images of one channel have both.
    let alike = all.iter().all(|t| t.kind() == Kind::Float && t.size() == xs.size() && t.device() == xs.device());
    let lie_alike = all.iter().all(|t| t.is_contiguous()) || all.iter().all(|t| is_channels_last(t));
    if !is_new_enough(xs.device())
        || !alike
        || !lie_alike
        || alpha.numel() != 1
        || alpha.kind() != Kind::Double
        || alpha.device() != xs.device()
    {
        return None;
    }
    let kernel = Kernel::named("sign_step").ok()?;
    let (n, out) = (xs.numel() as i64, xs.empty_like());
    let arguments = arguments![xs, gradient, alpha, low, high, &out, n];
    // # Safety
    // The declaration is (float*, float*, double*, float*, float*, float*, long); all five images are dense and lie alike.
    unsafe { kernel.launch(Grid::Each(n), &arguments) }.ok()?;
    Some(out)
}

pub(super) fn sgd(
    [values, gradient, velocity]: [&Tensor; 3],
    rate: &Tensor,
    [momentum, decay]: [f64; 2],
    nesterov: bool,
) -> Option<()> {
    let flat = |t: &Tensor| {
        t.kind() == Kind::Float && t.size() == values.size() && t.is_contiguous() && t.device() == values.device()
    };
    let scalar = rate.kind() == Kind::Double && rate.numel() == 1 && rate.device() == values.device();
    if !is_new_enough(values.device()) || ![values, gradient, velocity].into_iter().all(flat) || !scalar {
        return None;
    }
    let kernel = Kernel::named("sgd").ok()?;
    let n = values.numel() as i64;
    let arguments = arguments![values, gradient, velocity, rate, momentum as f32, decay as f32, i32::from(nesterov), n];
    // # Safety
    // The declaration is (float*, float*, float*, double*, float, float, int, long); sizes, kinds and layout are checked above.
    unsafe { kernel.launch(Grid::Each(n), &arguments) }.ok()
}

/// Batch norms with their running statistics as scales and shifts; `at` are the places of weights and biases in `values`, of means and variances in `stats`.
pub(super) fn fold_norms(values: &Tensor, stats: &Tensor, at: [&Tensor; 4], eps: f64) -> Option<[Tensor; 2]> {
    let (device, n) = (values.device(), at[0].numel() as i64);
    let whole = [values, stats].iter().all(|t| is_dense(t, Kind::Float, &t.size(), device));
    let placed = at.iter().all(|at| is_dense(at, Kind::Int64, &[n], device));
    if !is_new_enough(device) || !whole || !placed || n == 0 {
        return None;
    }
    let kernel = Kernel::named("fold_norms").ok()?;
    let folded = [(); 2].map(|()| Tensor::empty([n], (Kind::Float, device)));
    let arguments = arguments![values, stats, at[0], at[1], at[2], at[3], eps as f32, &folded[0], &folded[1], n];
    // # Safety
    // The declaration is (float*, float*, long*, long*, long*, long*, float, float*, float*, long), checked above; places lie inside, as `Parameters` made them.
    unsafe { kernel.launch(Grid::Each(n), &arguments) }.ok()?;
    Some(folded)
}
