//! The copy of the numbers that passes in bf16 run with.

use super::Parameters;
use super::declare::Group;
use super::layout::views;
use tch::{Kind, Tensor};

/// A copy of the numbers in bf16, which passes of half precision run with. Its views of norms are those of the full numbers.
#[derive(Debug)]
pub(super) struct Half {
    flat: Tensor,
    pub frozen: Vec<Tensor>,
}

impl Parameters {
    /// Makes room for bf16; [`Parameters::refresh_half`] fills it.
    pub(crate) fn add_half(&mut self) {
        if !self.set {
            return;
        }
        let flat = self.flat.empty_like().to_kind(Kind::BFloat16);
        let frozen: Vec<Tensor> = views(&flat, &self.params, &self.layout)
            .into_iter()
            .enumerate()
            .map(|(i, view)| if self.params[i].group == Group::Norm { self.frozen[i].shallow_clone() } else { view })
            .collect();
        self.half = Some(Half { flat, frozen });
        self.refresh_half();
    }

    /// Copies the numbers into those of bf16, if there are any: after whatever changed them, and before the passes that are to see it.
    pub(crate) fn refresh_half(&self) {
        if let Some(half) = &self.half {
            tch::no_grad(|| half.flat.shallow_clone().copy_(&self.flat));
        }
    }
}
