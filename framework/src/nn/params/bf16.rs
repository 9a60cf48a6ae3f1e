//! The copy of the parameters that passes in bf16 run with.

use super::Parameters;
use super::declare::Group;
use super::layout::views;
use tch::{Kind, Tensor};

/// The parameters in bf16. Batch norms' are fp32 here too: views of the originals.
#[derive(Debug)]
pub(super) struct Bf16Copy {
    flat: Tensor,
    pub frozen: Vec<Tensor>,
}

impl Parameters {
    /// Makes the copy, and fills it.
    pub(crate) fn add_bf16_copy(&mut self) {
        if !self.is_initialised {
            return;
        }
        let flat = self.flat.empty_like().to_kind(Kind::BFloat16);
        let frozen: Vec<Tensor> = views(&flat, &self.params, &self.layout)
            .into_iter()
            .enumerate()
            .map(|(i, view)| if self.params[i].group == Group::Norm { self.frozen[i].shallow_clone() } else { view })
            .collect();
        self.bf16 = Some(Bf16Copy { flat, frozen });
        self.refresh_bf16_copy();
    }

    /// Copies the parameters into their bf16 copy, if there is one: after each change of them, and
    /// before the passes that must see it.
    pub(crate) fn refresh_bf16_copy(&self) {
        if let Some(copy) = &self.bf16 {
            tch::no_grad(|| copy.flat.shallow_clone().copy_(&self.flat));
        }
    }
}
