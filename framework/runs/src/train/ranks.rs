//! The state that ranks keep between steps: the same on each, except for state of single images.

use super::state::state;
use crate::pipeline::Assembled;
use foil::distributed::{World, share};
use foil::{Error, Result};
use tch::{Kind, Tensor};

/// The steps of an epoch so far, and which images each rank saw in them.
pub(super) struct Visited<'a> {
    /// The epoch's order: indices in the data set `[train]`.
    pub order: &'a Tensor,
    /// Images in a step.
    pub size: i64,
    /// Steps done.
    pub steps: i64,
}

impl Visited<'_> {
    /// Indices that `rank` of `size` saw, and those that all saw together.
    fn by(&self, rank: usize, size: usize) -> (Tensor, Tensor) {
        let total = self.order.size()[0];
        let mut mine = vec![self.order.narrow(0, 0, 0)];
        for step in 0..self.steps {
            let first = step * self.size;
            let share = share(self.size.min(total - first), rank, size);
            mine.push(self.order.narrow(0, first + share.start, share.mine));
        }
        (Tensor::cat(&mine, 0), self.order.narrow(0, 0, total.min(self.steps * self.size)))
    }
}

/// Sets the state of each image to that of the rank that saw the image last, bit for bit.
///
/// # Errors
/// When a rank is lost, or attack or loss name state that they do not have.
pub(super) fn merge(world: World, parts: &Assembled, visited: &Visited) -> Result<()> {
    if !world.is_joined() {
        return Ok(());
    }
    let of_attack = parts.step.attack.learning().map_or_else(Vec::new, |learning| learning.per_image());
    merge_rows(world, "attack", &of_attack, &parts.step.attack.state(), visited)?;
    merge_rows(world, "loss", &parts.step.loss.per_image(), &parts.step.loss.state(), visited)
}

/// Merges the tensors called `names` of a part's `state`.
fn merge_rows(world: World, part: &str, names: &[String], state: &[(String, Tensor)], visited: &Visited) -> Result<()> {
    if names.is_empty() {
        return Ok(());
    }
    let (mine, all) = visited.by(world.rank(), world.size());
    for name in names {
        let Some((_, tensor)) = state.iter().find(|(kept, _)| kept == name) else {
            return Err(
                Error::new(format!("the {part} keeps no `{name}` by image")).help("`per_image` names parts of `state`")
            );
        };
        // All other ranks contribute zero bits, so the sum as integers is that of the rank that
        // saw the image.
        let bits = bits(tensor);
        let merged = bits.zeros_like().index_copy(0, &mine, &bits.index_select(0, &mine)).contiguous();
        world.sum(&merged)?;
        let _ = bits.shallow_clone().index_copy_(0, &all, &merged.index_select(0, &all));
    }
    Ok(())
}

/// The tensor's memory as integers.
fn bits(tensor: &Tensor) -> Tensor {
    match tensor.kind().elt_size_in_bytes() {
        8 => tensor.view_dtype(Kind::Int64),
        4 => tensor.view_dtype(Kind::Int),
        _ => tensor.view_dtype(Kind::Uint8),
    }
}

/// Gives every rank rank 0's state.
///
/// # Errors
/// When a rank is lost.
pub(super) fn follow(world: World, parts: &Assembled) -> Result<()> {
    state(parts).iter().try_for_each(|(_, tensor)| world.broadcast(tensor))
}

/// Checks that all ranks hold the same bits; if not, they get rank 0's, with a warning.
///
/// # Errors
/// When a rank is lost.
pub(super) fn compare(world: World, parts: &Assembled) -> Result<()> {
    if world.size() == 1 {
        return Ok(());
    }
    let state = state(parts);
    let sums: Vec<Tensor> = state.iter().map(|(_, t)| bits(&t.contiguous()).sum(Kind::Int64).view([1])).collect();
    let sums = Tensor::cat(&sums, 0);
    let first = sums.copy();
    world.broadcast(&first)?;
    let differs = sums.ne_tensor(&first).to_kind(Kind::Int64);
    world.sum(&differs)?;
    let differing: Vec<&str> =
        (0..state.len()).filter(|&i| differs.int64_value(&[i as i64]) > 0).map(|i| state[i].0.as_str()).collect();
    if differing.is_empty() {
        return Ok(());
    }
    tracing::warn!(
        "{} differed between ranks, and rank 0's is used from here on; do their processors differ, or does a plugin keep state of its own?",
        differing.join(", ")
    );
    follow(world, parts)
}
