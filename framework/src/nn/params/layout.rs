//! Where tensors lie in a flat one.

use super::declare::Spec;
use tch::Tensor;

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

/// All positions of the specs `which` in a flat tensor laid out in this order, one spec after another.
pub(super) fn positions(specs: &[Spec], layout: &[usize], which: impl Iterator<Item = usize>) -> Vec<i64> {
    let mut starts = vec![0; specs.len()];
    let mut next = 0;
    for &i in layout {
        starts[i] = next;
        next += specs[i].numel();
    }
    which.flat_map(|i| starts[i]..starts[i] + specs[i].numel()).collect()
}
