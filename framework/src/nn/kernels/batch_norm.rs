//! Batch norm with the batch's statistics (framework/cuda/batch_norm.h).

use super::PartialSums;
use super::support::{are_per_channel, is_aligned, supported_gradient, supports};
use crate::cuda::{Grid, THREADS, VECTOR, kernels};
use std::cell::RefCell;
use std::mem::ManuallyDrop;
use tch::{Device, Kind, Tensor};

/// The gradient of a batch norm's input, and where they are asked for those of weight and bias.
pub(in crate::nn) type NormGradients = (Tensor, Option<[Tensor; 2]>);

/// The batch's statistics, and the affine map that batch norm is with them.
#[derive(Debug)]
pub(in crate::nn) struct BatchFactors {
    /// `[4, C]`: scale, shift, mean, inverse deviation.
    values: Tensor,
    /// Of the thread that ran the forward pass; autograd may take the gradient on another one, but
    /// does so on the first one's stream.
    tickets: Tensor,
}

impl BatchFactors {
    pub(in crate::nn) fn scale(&self) -> Tensor {
        self.values.get(0)
    }
    pub(in crate::nn) fn shift(&self) -> Tensor {
        self.values.get(1)
    }
    pub(in crate::nn) fn mean(&self) -> Tensor {
        self.values.get(2)
    }
    pub(in crate::nn) fn inverse_std(&self) -> Tensor {
        self.values.get(3)
    }
    pub(in crate::nn) fn scale_shift_mean(&self) -> [Tensor; 3] {
        [self.scale(), self.shift(), self.mean()]
    }
}

/// How blocks divide `[rows, channels]`, where a row is a pixel. It depends on the shape alone, so
/// that sums have the same bits on every device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct RowBlocks {
    rows: i64,
    channels: i64,
    /// A block has 1 << `log_vectors` vectors of channels side by side; that divides all of them.
    log_vectors: u32,
    rows_per_block: i64,
}

/// Blocks that keep a large GPU busy; the last one reads a sum of each.
const BLOCKS: i64 = 256;
/// The most rows that one thread adds up, except in the last block; sums of so few numbers lose no
/// digits that count.
const ROWS_PER_THREAD: i64 = 64;
/// The most blocks side by side.
const TICKETS: i64 = 1024;

impl RowBlocks {
    fn new(xs: &Tensor) -> Option<Self> {
        let (n, channels, h, w) = xs.size4().ok()?;
        let rows = n * h * w;
        let log_vectors = (channels / VECTOR).trailing_zeros().min(3);
        let (side_by_side, rows_at_once) = ((channels / VECTOR) >> log_vectors, i64::from(THREADS) >> log_vectors);
        let rows_per_thread = ((rows * side_by_side) as u64)
            .div_ceil((BLOCKS * rows_at_once) as u64)
            .clamp(1, ROWS_PER_THREAD as u64) as i64;
        // Counts are floats in the kernels; of one row PyTorch's running variance is not a number.
        ((2..1 << 24).contains(&rows) && side_by_side <= TICKETS).then_some(Self {
            rows,
            channels,
            log_vectors,
            rows_per_block: rows_per_thread * rows_at_once,
        })
    }

    fn blocks(&self) -> [i64; 2] {
        let along = (self.rows as u64).div_ceil(self.rows_per_block as u64) as i64;
        [along, (self.channels / VECTOR) >> self.log_vectors]
    }

    fn grid(&self) -> Grid {
        Grid::Blocks(self.blocks())
    }

    /// As kernels take it.
    fn shape(&self) -> [i32; 4] {
        [self.rows as i32, self.channels as i32, self.log_vectors as i32, self.rows_per_block as i32]
    }

    /// Room for the sums of all blocks.
    fn empty_sums(&self, device: Device) -> Tensor {
        Tensor::empty([self.blocks()[0], self.channels, 2], (Kind::Float, device))
    }
}

/// The zeros that kernels count finished blocks with, and leave as zeros. Each thread has its own,
/// since kernels of other threads may run at the same time; never freed, since captured graphs keep
/// using them.
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

/// `xs` (+ `ys`), and the factors of its batch norm; moves the running mean and variance. `rates`
/// are momentum and eps.
pub(in crate::nn) fn statistics(
    xs: &Tensor,
    ys: Option<&Tensor>,
    [weight, bias]: [&Tensor; 2],
    [mean, var]: [&Tensor; 2],
    rates: [f64; 2],
) -> Option<(Tensor, BatchFactors)> {
    let device = xs.device();
    let applies = match ys {
        Some(ys) => supports(&[xs, ys]),
        None => supports(&[xs]),
    };
    if !applies || !are_per_channel(&[weight, bias, mean, var], xs.size()[1], device) {
        return None;
    }
    let blocks = RowBlocks::new(xs)?;
    let sum = ys.map(|_| xs.empty_like());
    let values = Tensor::empty([4, blocks.channels], (Kind::Float, device));
    let (partial, tickets) = (blocks.empty_sums(device), tickets(device));
    let ([rows, channels, bits, height], [momentum, eps]) = (blocks.shape(), rates.map(|value| value as f32));
    kernels::batch_statistics(
        blocks.grid(),
        xs,
        ys,
        sum.as_ref(),
        weight,
        bias,
        mean,
        var,
        momentum,
        eps,
        &values,
        &partial,
        &tickets,
        rows,
        channels,
        bits,
        height,
    )
    .ok()?;
    Some((sum.unwrap_or_else(|| xs.shallow_clone()), BatchFactors { values, tickets }))
}

/// The factors of a batch norm, from the moments of groups of pixels; moves the running mean and
/// variance. `rates` are momentum and eps.
pub(in crate::nn) fn statistics_from_sums(
    moments: &PartialSums,
    [weight, bias]: [&Tensor; 2],
    [mean, var]: [&Tensor; 2],
    rates: [f64; 2],
) -> Option<BatchFactors> {
    let (channels, device) = (moments.sums.size()[1], moments.sums.device());
    if !are_per_channel(&[weight, bias, mean, var], channels, device) {
        return None;
    }
    let values = Tensor::empty([4, channels], (Kind::Float, device));
    let ([rows, channels, bits, height], [momentum, eps]) = (moments.shape(), rates.map(|value| value as f32));
    let (grid, sums) = (moments.grid(), &moments.sums);
    kernels::batch_statistics_of_groups(
        grid, sums, weight, bias, mean, var, momentum, eps, &values, rows, channels, bits, height,
    )
    .ok()?;
    Some(BatchFactors { values, tickets: tickets(device) })
}

/// The gradient with respect to batch norm's input `xs`, from that with respect to its output, or
/// with `has_relu` to the output of the ReLU behind it; `other` is added. With `learns` also those
/// with respect to weight and bias, fp32 `[C]` each.
pub(in crate::nn) fn backward(
    gradient: &Tensor,
    xs: &Tensor,
    factors: &BatchFactors,
    has_relu: bool,
    other: Option<&Tensor>,
    learns: bool,
) -> Option<NormGradients> {
    let gradient = supported_gradient(gradient, xs, other).filter(|_| is_aligned(&factors.values))?;
    let blocks = RowBlocks::new(xs)?;
    let (sums, learned) = empty_grad_sums(&blocks, xs.device(), learns);
    let (partial, [rows, channels, bits, height]) = (blocks.empty_sums(xs.device()), blocks.shape());
    let (grid, values, tickets) = (blocks.grid(), &factors.values, &factors.tickets);
    let (relu, to_learned) = (has_relu.into(), learned.as_ref());
    kernels::batch_slopes(
        grid, &gradient, xs, values, relu, &sums, to_learned, &partial, tickets, rows, channels, bits, height,
    )
    .ok()?;
    let d_xs = input_gradient(&gradient, xs, factors, &sums, has_relu, other, blocks)?;
    Some((d_xs, learned.map(|both| [both.get(0), both.get(1)])))
}

/// [`backward`] behind the ReLU, from the gradient's sums of groups of pixels.
pub(in crate::nn) fn backward_from_sums(
    partial: &PartialSums,
    gradient: &Tensor,
    xs: &Tensor,
    factors: &BatchFactors,
    other: Option<&Tensor>,
    learns: bool,
) -> Option<NormGradients> {
    let gradient = supported_gradient(gradient, xs, other).filter(|_| is_aligned(&factors.values))?;
    let blocks = RowBlocks::new(xs)?;
    let (sums, learned) = empty_grad_sums(&blocks, xs.device(), learns);
    let ([rows, channels, bits, height], to_learned) = (partial.shape(), learned.as_ref());
    let (grid, values) = (partial.grid(), &factors.values);
    kernels::batch_slopes_of_groups(grid, &partial.sums, values, &sums, to_learned, rows, channels, bits, height)
        .ok()?;
    let d_xs = input_gradient(&gradient, xs, factors, &sums, true, other, blocks)?;
    Some((d_xs, learned.map(|both| [both.get(0), both.get(1)])))
}

/// Room for the two sums of a gradient, `[2, C]`, and with `learns` for the gradients of weight and
/// bias.
fn empty_grad_sums(blocks: &RowBlocks, device: Device, learns: bool) -> (Tensor, Option<Tensor>) {
    let empty = || Tensor::empty([2, blocks.channels], (Kind::Float, device));
    (empty(), learns.then(empty))
}

/// The input gradient, from the two sums of the gradient, `[2, C]`.
fn input_gradient(
    gradient: &Tensor,
    xs: &Tensor,
    factors: &BatchFactors,
    sums: &Tensor,
    has_relu: bool,
    other: Option<&Tensor>,
    blocks: RowBlocks,
) -> Option<Tensor> {
    let d_xs = xs.empty_like();
    let ([rows, channels, bits, height], values) = (blocks.shape(), &factors.values);
    let (grid, relu) = (blocks.grid(), has_relu.into());
    kernels::batch_backward(grid, gradient, xs, other, values, sums, relu, &d_xs, rows, channels, bits, height).ok()?;
    Some(d_xs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row_blocks(shape: [i64; 4]) -> Option<RowBlocks> {
        RowBlocks::new(&Tensor::zeros([1], (Kind::Float, Device::Cpu)).expand(shape, false))
    }

    #[test]
    fn blocks_cover_every_row_and_channel() {
        // PreAct-ResNet-18's stages at batch 128.
        let stages = [[128, 64, 32, 32], [128, 128, 16, 16], [128, 256, 8, 8], [128, 512, 4, 4]];
        let blocks = stages.map(|shape| row_blocks(shape).unwrap().blocks());
        assert_eq!(blocks, [[256, 1], [128, 2], [64, 4], [32, 8]]);
        assert_eq!(row_blocks([512, 64, 32, 32]).unwrap().blocks(), [256, 1]);
        for shape in [[3, 8, 5, 7], [1, 24, 1, 2], [7, 160, 3, 3], [2, 640, 8, 8], [512, 16, 32, 32]] {
            let s = row_blocks(shape).unwrap();
            let [x, y] = s.blocks();
            assert!((x - 1) * s.rows_per_block < s.rows && s.rows <= x * s.rows_per_block, "{s:?}");
            let along = 256 >> s.log_vectors;
            assert!((y << s.log_vectors) * VECTOR == s.channels && s.rows_per_block % along == 0, "{s:?}");
            assert!(s.rows_per_block / along <= ROWS_PER_THREAD, "{s:?}");
        }
        assert_eq!((row_blocks([1, 8, 1, 1]), row_blocks([1 << 14, 8, 32, 32])), (None, None));
    }
}
