//! Batch norm with the batch's statistics by the CUDA kernels (framework/cuda/batch_norm.h): `None` where they do not apply.

#![allow(unsafe_code)]

use super::groups::Groups;
use super::kernels::{WIDTH, is_aligned, of, suited, suits};
use super::{EPS, Gradients};
use crate::engine::cuda::{Argument, Grid, Kernel, THREADS, arguments};
use std::cell::RefCell;
use std::mem::ManuallyDrop;
use tch::{Device, Kind, Tensor};

/// What the kernels found.
#[derive(Debug)]
pub(super) struct Factors {
    /// `[4, C]`: scale, shift, mean, inverse deviation.
    values: Tensor,
    /// Of the thread that asked; autograd may take the gradient on another, but does so on this one's stream.
    tickets: Tensor,
}

impl Factors {
    pub(super) fn scale(&self) -> Tensor {
        self.values.get(0)
    }
    pub(super) fn shift(&self) -> Tensor {
        self.values.get(1)
    }
    pub(super) fn mean(&self) -> Tensor {
        self.values.get(2)
    }
    pub(super) fn inverse_std(&self) -> Tensor {
        self.values.get(3)
    }
}

/// How blocks divide `[rows, channels]`. It depends on the shape alone, so that sums have the same bits on every device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Slabs {
    rows: i64,
    channels: i64,
    /// Threads side by side are 1 << `bits`, which divides the channels' groups of eight.
    bits: u32,
    /// Rows of a block.
    height: i64,
}

/// Blocks that keep a large GPU busy; the last one reads a sum of each.
const BLOCKS: i64 = 256;
/// The most rows that one thread adds up, unless its block is the last; sums of so few lose no digits that count.
const ROWS: i64 = 64;
/// The most blocks side by side.
const TICKETS: i64 = 1024;

impl Slabs {
    fn of(xs: &Tensor) -> Option<Self> {
        let (n, channels, h, w) = xs.size4().ok()?;
        let rows = n * h * w;
        let bits = (channels / WIDTH).trailing_zeros().min(3);
        let (side_by_side, along) = ((channels / WIDTH) >> bits, i64::from(THREADS) >> bits);
        let height =
            ((rows * side_by_side) as u64).div_ceil((BLOCKS * along) as u64).clamp(1, ROWS as u64) as i64 * along;
        // Counts are floats in the kernels; of one row PyTorch's running variance is no number.
        ((2..1 << 24).contains(&rows) && side_by_side <= TICKETS).then_some(Self { rows, channels, bits, height })
    }

    fn blocks(&self) -> [i64; 2] {
        [(self.rows as u64).div_ceil(self.height as u64) as i64, (self.channels / WIDTH) >> self.bits]
    }

    /// What every kernel here ends with.
    fn arguments(&self) -> [Argument<'static>; 4] {
        arguments![self.rows as i32, self.channels as i32, self.bits as i32, self.height as i32]
    }

    /// Room for the sums of all blocks.
    fn partial(&self, device: Device) -> Tensor {
        Tensor::empty([self.blocks()[0], self.channels, 2], (Kind::Float, device))
    }
}

/// The zeros that kernels count finished blocks with, and leave as zeros. Of this thread, since kernels of other threads may run beside its own; never freed,
/// since captured graphs go on using them.
fn tickets(device: Device) -> Tensor {
    thread_local! {
        static ALL: RefCell<Vec<(Device, ManuallyDrop<Tensor>)>> = const { RefCell::new(Vec::new()) };
    }
    ALL.with_borrow_mut(|all| {
        if let Some((_, tickets)) = all.iter().find(|(of, _)| *of == device) {
            return tickets.shallow_clone();
        }
        let tickets = Tensor::zeros([TICKETS], (Kind::Int, device));
        all.push((device, ManuallyDrop::new(tickets.shallow_clone())));
        tickets
    })
}

/// Whether these are `c` numbers that a kernel can read and write.
fn are_by_channel(all: &[&Tensor], c: i64, device: Device) -> bool {
    all.iter().all(|t| t.kind() == Kind::Float && t.size() == [c] && t.is_contiguous() && t.device() == device)
}

/// `xs` (+ `ys`), and what its batch norm is; moves the running mean and variance.
pub(super) fn statistics(
    xs: &Tensor,
    ys: Option<&Tensor>,
    [weight, bias]: [&Tensor; 2],
    [mean, var]: [&Tensor; 2],
    momentum: f64,
) -> Option<(Tensor, Factors)> {
    let device = xs.device();
    let fit = match ys {
        Some(ys) => suits(&[xs, ys]),
        None => suits(&[xs]),
    };
    if !fit || !are_by_channel(&[weight, bias, mean, var], xs.size()[1], device) {
        return None;
    }
    let slabs = Slabs::of(xs)?;
    let kernel = of(xs.kind(), "batch_statistics_bf16", "batch_statistics_f32")?;
    let sum = ys.map(|_| xs.empty_like());
    let factors = Tensor::empty([4, slabs.channels], (Kind::Float, device));
    let (partial, tickets) = (slabs.partial(device), tickets(device));
    let arguments = arguments![
        xs,
        ys,
        sum.as_ref(),
        weight,
        bias,
        mean,
        var,
        momentum as f32,
        EPS as f32,
        &factors,
        &partial,
        &tickets
    ];
    // # Safety
    // The declaration is (T*, T* or null, T* or null, four of float*, float, float, float*, float*, unsigned*, four of int). Images are checked
    // by `suits`, what is by channel above, and `Slabs` made room for the rest.
    unsafe { kernel.launch(Grid::Blocks(slabs.blocks()), &[&arguments[..], &slabs.arguments()].concat()) }.ok()?;
    Some((sum.unwrap_or_else(|| xs.shallow_clone()), Factors { values: factors, tickets }))
}

/// What batch norm is, by the moments of groups of rows; moves the running mean and variance.
pub(super) fn statistics_of(
    groups: &Groups,
    [weight, bias]: [&Tensor; 2],
    [mean, var]: [&Tensor; 2],
    momentum: f64,
) -> Option<Factors> {
    let (c, device) = (groups.found.size()[1], groups.found.device());
    if !are_by_channel(&[weight, bias, mean, var], c, device) {
        return None;
    }
    let kernel = Kernel::named("batch_statistics_of_groups").ok()?;
    let factors = Tensor::empty([4, c], (Kind::Float, device));
    let arguments = arguments![&groups.found, weight, bias, mean, var, momentum as f32, EPS as f32, &factors,];
    // # Safety
    // The declaration is (five of float*, float, float, float*, four of int); what is by channel is checked above, and `Groups` are `[groups, C, 2]`.
    unsafe { kernel.launch(groups.grid(), &[&arguments[..], &groups.arguments()].concat()) }.ok()?;
    Some(Factors { values: factors, tickets: tickets(device) })
}

/// [`backward`] behind the ReLU, by the sums of groups of rows.
pub(super) fn backward_of(
    groups: &Groups,
    gradient: &Tensor,
    xs: &Tensor,
    factors: &Factors,
    other: Option<&Tensor>,
    learns: bool,
) -> Option<Gradients> {
    let gradient = suited(gradient, xs, other).filter(|_| is_aligned(&factors.values))?;
    let slabs = Slabs::of(xs)?;
    let kernel = Kernel::named("batch_slopes_of_groups").ok()?;
    let by_channel = || Tensor::empty([2, slabs.channels], (Kind::Float, xs.device()));
    let (slopes, learned) = (by_channel(), learns.then(by_channel));
    let arguments = arguments![&groups.found, &factors.values, &slopes, learned.as_ref()];
    // # Safety
    // The declaration is (float*, float*, float*, float* or null, four of int); `Groups` are `[groups, C, 2]` with the channels of `xs`.
    unsafe { kernel.launch(groups.grid(), &[&arguments[..], &groups.arguments()].concat()) }.ok()?;
    let out = by_slopes(&gradient, xs, factors, &slopes, true, other, slabs)?;
    Some((out, learned.map(|both| [both.get(0), both.get(1)])))
}

/// The gradient, once `slopes` `[2, C]` are known; `gradient`, `xs` and `other` suit the kernels.
fn by_slopes(
    gradient: &Tensor,
    xs: &Tensor,
    factors: &Factors,
    slopes: &Tensor,
    has_relu: bool,
    other: Option<&Tensor>,
    slabs: Slabs,
) -> Option<Tensor> {
    let kernel = of(xs.kind(), "batch_backward_bf16", "batch_backward_f32")?;
    let out = xs.empty_like();
    let arguments = arguments![gradient, xs, other, &factors.values, slopes, i32::from(has_relu), &out,];
    // # Safety
    // The declaration is (T*, T*, T* or null, float*, float*, int, T*, four of int), checked by who calls.
    unsafe { kernel.launch(Grid::Blocks(slabs.blocks()), &[&arguments[..], &slabs.arguments()].concat()) }.ok()?;
    Some(out)
}

/// The gradient with respect to batch norm's input `xs`, from that with respect to its output, or to the ReLU's behind it; `other` is added.
/// With `learns` also those with respect to weight and bias, fp32 `[C]` each.
pub(super) fn backward(
    gradient: &Tensor,
    xs: &Tensor,
    factors: &Factors,
    has_relu: bool,
    other: Option<&Tensor>,
    learns: bool,
) -> Option<Gradients> {
    let gradient = suited(gradient, xs, other).filter(|_| is_aligned(&factors.values))?;
    let slabs = Slabs::of(xs)?;
    let sums = of(xs.kind(), "batch_slopes_bf16", "batch_slopes_f32")?;
    let by_channel = || Tensor::empty([2, slabs.channels], (Kind::Float, xs.device()));
    let (slopes, learned) = (by_channel(), learns.then(by_channel));
    let partial = slabs.partial(xs.device());
    let arguments = arguments![
        &gradient,
        xs,
        &factors.values,
        i32::from(has_relu),
        &slopes,
        learned.as_ref(),
        &partial,
        &factors.tickets
    ];
    // # Safety
    // The declaration is (T*, T*, float*, int, float*, float* or null, float*, unsigned*, four of int), checked as above.
    unsafe { sums.launch(Grid::Blocks(slabs.blocks()), &[&arguments[..], &slabs.arguments()].concat()) }.ok()?;
    let out = by_slopes(&gradient, xs, factors, &slopes, has_relu, other, slabs)?;
    Some((out, learned.map(|both| [both.get(0), both.get(1)])))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slabs(shape: [i64; 4]) -> Option<Slabs> {
        Slabs::of(&Tensor::zeros([1], (Kind::Float, Device::Cpu)).expand(shape, false))
    }

    #[test]
    fn blocks_cover_every_row_and_channel() {
        // PreAct-ResNet-18's stages at batch 128.
        let stages = [[128, 64, 32, 32], [128, 128, 16, 16], [128, 256, 8, 8], [128, 512, 4, 4]];
        let blocks = stages.map(|shape| slabs(shape).unwrap().blocks());
        assert_eq!(blocks, [[256, 1], [128, 2], [64, 4], [32, 8]]);
        assert_eq!(slabs([512, 64, 32, 32]).unwrap().blocks(), [256, 1]);
        for shape in [[3, 8, 5, 7], [1, 24, 1, 2], [7, 160, 3, 3], [2, 640, 8, 8], [512, 16, 32, 32]] {
            let s = slabs(shape).unwrap();
            let [x, y] = s.blocks();
            assert!((x - 1) * s.height < s.rows && s.rows <= x * s.height, "{s:?}");
            let along = 256 >> s.bits;
            assert!((y << s.bits) * WIDTH == s.channels && s.height % along == 0, "{s:?}");
            assert!(s.height / along <= ROWS, "{s:?}");
        }
        assert_eq!((slabs([1, 8, 1, 1]), slabs([1 << 14, 8, 32, 32])), (None, None));
    }
}
