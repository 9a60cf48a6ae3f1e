//! Gradients of many parameters and passes into one flat tensor (framework/cuda/pieces.h).

#![allow(unsafe_code)]

use super::support::{empty_like_in, has_kernels};
use crate::cuda::{Grid, kernels};
use tch::{Kind, Tensor};

/// The most passes whose gradients are added up, for each parameter.
pub(in crate::nn) const MOST_PASSES: usize = 4;
/// Parameters of a launch, and the words that describe one: `Piece` in pieces.h.
const PIECES: usize = 64;
const WORDS: usize = MOST_PASSES + 3;
/// Numbers that a block adds up.
const NUMBERS_PER_BLOCK: u64 = 4096;

/// Sets each parameter's part of the flat gradient, dense fp32, to the sum of its gradients in each
/// pass, fp32 or bf16; to 0 where there is none.
pub(in crate::nn) fn gather_grads(parts: &[(Tensor, Vec<Tensor>)]) -> Option<()> {
    let device = parts.first()?.0.device();
    let applies = |(part, grads): &(Tensor, Vec<Tensor>)| {
        let is_alike = |t: &Tensor| {
            t.size() == part.size() && t.device() == device && matches!(t.kind(), Kind::Float | Kind::BFloat16)
        };
        part.kind() == Kind::Float
            && part.device() == device
            && grads.len() <= MOST_PASSES
            && grads.iter().all(is_alike)
    };
    if !has_kernels(device) || !parts.iter().all(applies) {
        return None;
    }
    for parts in parts.chunks(PIECES) {
        let mut words = [0u64; PIECES * WORDS];
        let (mut laid_out, mut blocks) = (Vec::new(), 0);
        for words in words.chunks_mut(WORDS).skip(parts.len()) {
            words[2 + MOST_PASSES] = u32::MAX.into();
        }
        for ((part, grads), words) in parts.iter().zip(words.chunks_mut(WORDS)) {
            words[0] = part.data_ptr() as u64;
            words[1 + MOST_PASSES] = part.numel() as u64;
            words[2 + MOST_PASSES] = blocks;
            blocks += (part.numel() as u64).div_ceil(NUMBERS_PER_BLOCK);
            for (pass, grad) in grads.iter().enumerate() {
                let mut grad = grad.shallow_clone();
                if grad.stride() != part.stride() {
                    let mut in_layout = empty_like_in(part, grad.kind());
                    in_layout.copy_(&grad);
                    grad = in_layout;
                }
                words[1 + pass] = grad.data_ptr() as u64;
                words[2 + MOST_PASSES] |= u64::from(grad.kind() == Kind::BFloat16) << (32 + pass);
                laid_out.push(grad);
            }
        }
        // SAFETY: Of each part the words say where it is, where its gradients are, how many numbers
        // each of these has, its first block, and which gradients are bf16; there are as many
        // blocks as all parts need. All lie alike, on one device, and live until the launch is in
        // the stream's order.
        unsafe { kernels::sum_pieces(Grid::Blocks([blocks as i64, 1]), &words) }.ok()?;
    }
    Some(())
}
