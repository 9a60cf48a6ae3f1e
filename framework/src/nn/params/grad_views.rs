//! What differentiable passes run with: views of the parameters that autograd tracks.

use crate::nn::kernels::MOST_PASSES;
use std::cell::{Cell, OnceCell};
use tch::Tensor;

/// Differentiable views of the parameters, another set for each pass until gradients are taken. The
/// gradients of all passes are then added up at once in the parameters' precision, and not by
/// autograd in pairs. Passes beyond the last set share it.
#[derive(Debug, Default)]
pub(super) struct GradViews {
    sets: [OnceCell<Vec<Tensor>>; MOST_PASSES],
    taken: Cell<usize>,
}

impl GradViews {
    /// Views of `frozen` for one more pass.
    pub(super) fn next(&self, frozen: &[Tensor]) -> &[Tensor] {
        let n = self.taken.get().min(MOST_PASSES - 1);
        self.taken.set(n + 1);
        self.sets[n].get_or_init(|| frozen.iter().map(|v| v.detach().set_requires_grad(true)).collect())
    }

    /// The views of the passes since the last call, pass by pass.
    pub(super) fn drain(&self) -> Vec<&Tensor> {
        let n = self.taken.replace(0);
        self.sets[..n].iter().filter_map(OnceCell::get).flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use crate::nn::{Builder, Linear, Mode};
    use tch::{Device, Kind};

    #[test]
    fn passes_of_a_step_that_failed_are_forgotten() {
        let nn = Builder::default();
        Linear::new(&nn, "fc", 4, 2);
        let params = nn.finish(Some(0), Kind::Float, Device::Cpu);
        let pass = || drop(params.pass(Mode::Train, true, false, 0, None));
        pass();
        pass();
        params.forget_passes();
        pass();
        assert_eq!(params.drain_grad_views().len(), params.names().count());
    }
}
