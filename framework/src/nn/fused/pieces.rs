//! Gradients of many parameters and passes into one flat tensor by a CUDA kernel (framework/cuda/pieces.h): `None` where it does not apply.

#![allow(unsafe_code)]

use super::ends::lying_as;
use super::kernels::is_new_enough;
use crate::engine::cuda::{Argument, Grid, Kernel};
use tch::{Kind, Tensor};

/// The most tensors that one piece is the sum of.
pub(in crate::nn) const SOURCES: usize = 4;
/// Pieces of a launch, and the words that say what one is.
const PIECES: usize = 64;
const WORDS: usize = SOURCES + 3;
/// Numbers that a block sums up.
const PART: u64 = 4096;

/// Sets each piece, dense fp32, to the sum of what is beside it, fp32 or bf16.
pub(in crate::nn) fn sum_pieces(pieces: &[(Tensor, Vec<Tensor>)]) -> Option<()> {
    let device = pieces.first()?.0.device();
    let fits = |(piece, from): &(Tensor, Vec<Tensor>)| {
        let alike = |t: &Tensor| {
            t.size() == piece.size() && t.device() == device && matches!(t.kind(), Kind::Float | Kind::BFloat16)
        };
        piece.kind() == Kind::Float && piece.device() == device && from.len() <= SOURCES && from.iter().all(alike)
    };
    if !is_new_enough(device) || !pieces.iter().all(fits) {
        return None;
    }
    let kernel = Kernel::named("sum_pieces").ok()?;
    for pieces in pieces.chunks(PIECES) {
        let mut words = [0u64; PIECES * WORDS];
        let (mut laid, mut blocks) = (Vec::new(), 0);
        for words in words.chunks_mut(WORDS).skip(pieces.len()) {
            words[2 + SOURCES] = u32::MAX.into();
        }
        for ((piece, from), words) in pieces.iter().zip(words.chunks_mut(WORDS)) {
            words[0] = piece.data_ptr() as u64;
            words[1 + SOURCES] = piece.numel() as u64;
            words[2 + SOURCES] = blocks;
            blocks += (piece.numel() as u64).div_ceil(PART);
            for (s, source) in from.iter().enumerate() {
                let mut source = source.shallow_clone();
                if source.stride() != piece.stride() {
                    let mut as_piece = lying_as(piece, source.kind());
                    as_piece.copy_(&source);
                    source = as_piece;
                }
                words[1 + s] = source.data_ptr() as u64;
                words[2 + SOURCES] |= u64::from(source.kind() == Kind::BFloat16) << (32 + s);
                laid.push(source);
            }
        }
        // # Safety
        // The declaration is (Pieces), which is as many words: of each piece its numbers, those of at most SOURCES others, how many, its first block, and which are
        // bf16; blocks are as many as all need. All numbers lie alike on the device, in as much memory, and live until the launch is in the stream's order.
        unsafe { kernel.launch(Grid::Blocks([blocks as i64, 1]), &[Argument::Words(&words)]) }.ok()?;
    }
    Some(())
}
