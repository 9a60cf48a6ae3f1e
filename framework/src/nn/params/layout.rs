//! Where tensors lie in a flat one.

use super::declare::{Group, Spec};
use tch::Tensor;

/// Where a parameter lies in the flat tensor of all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// Its name in the `state_dict`.
    pub name: String,
    /// What it is for.
    pub group: Group,
    /// How many dimensions it has.
    pub dims: usize,
    /// The place of its first number.
    pub start: i64,
    /// How many numbers it has.
    pub length: i64,
}

/// Those of the specs, in memory's order.
pub(super) fn spans(specs: &[Spec], layout: &[usize]) -> Vec<Span> {
    let mut next = 0;
    let span = |&i: &usize| {
        let Spec { name, shape, group, .. } = &specs[i];
        let (start, length) = (next, specs[i].numel());
        next += length;
        Span { name: name.clone(), group: *group, dims: shape.len(), start, length }
    };
    layout.iter().map(span).collect()
}

/// Views into `flat` in the specs' own order; `layout` is the order in memory.
pub(super) fn views(flat: &Tensor, specs: &[Spec], layout: &[usize]) -> Vec<Tensor> {
    let mut views: Vec<Option<Tensor>> = specs.iter().map(|_| None).collect();
    let mut offset = 0;
    for &i in layout {
        let shape = &specs[i].shape;
        let piece = flat.narrow(0, offset, specs[i].numel());
        offset += specs[i].numel();
        views[i] = Some(match shape.as_slice() {
            &[o, c, h, w] => piece.view([o, h, w, c]).permute([0, 3, 1, 2]),
            shape => piece.view(shape),
        });
    }
    views.into_iter().flatten().collect()
}

/// All positions of the specs `which` in a flat tensor laid out in this order, one spec after
/// another.
pub(super) fn positions(specs: &[Spec], layout: &[usize], which: impl Iterator<Item = usize>) -> Vec<i64> {
    let mut starts = vec![0; specs.len()];
    let mut next = 0;
    for &i in layout {
        starts[i] = next;
        next += specs[i].numel();
    }
    which.flat_map(|i| starts[i]..starts[i] + specs[i].numel()).collect()
}
