//! ResNet-18: the smaller CIFAR network of TRADES, MART and FAT.

use crate::shape;
use crate::trunk::Trunk;
use foil::prelude::*;

/// ResNet-18 for small images (He et al. 2015, arXiv:1512.03385). 11,173,962 parameters on
/// CIFAR-10.
///
/// conv 64 without pooling, batch norm, ReLU, four stages of two blocks (64, 128, 256, 512
/// channels; strides 1, 2, 2, 2), mean over the image, linear. Names are those of TRADES, MART and
/// FAT. All layers are initialised as PyTorch's are.
#[settings]
pub struct Resnet18 {}

struct Net {
    trunk: Trunk,
    linear: Linear,
}

impl Config<dyn Model> for Resnet18 {
    fn build(&self, cx: &Build) -> Result<Box<dyn Model>> {
        shape::require_eight_pixels(cx);
        let nn = cx.builder();
        let trunk = Trunk::new(nn, cx.inputs());
        Ok(Box::new(Net { trunk, linear: Linear::new(nn, "linear", 512, cx.data.classes) }))
    }
}

impl Model for Net {
    fn forward(&self, pass: &Pass, xs: &Tensor) -> Tensor {
        let features = nn::global_average(&self.trunk.forward(pass, xs));
        pass.feature("penultimate", &features);
        self.linear.forward(pass, &features)
    }

    fn input_gradient(
        &self,
        pass: &Pass,
        xs: &Tensor,
        d_logits: &dyn Fn(&Tensor) -> Tensor,
    ) -> Option<(Tensor, Tensor)> {
        let passed = self.trunk.pass(pass, xs);
        let out = passed.out();
        let logits = self.linear.forward_pooled(pass, out);
        let d_out = self.linear.backward_pooled(pass, &d_logits(&logits), out);
        Some((self.trunk.input_gradient(pass, xs, &passed, d_out), logits))
    }
}

register!(dyn Model, "resnet18", Resnet18, "{}");

#[cfg(test)]
mod tests {
    use crate::testing::{CIFAR10, assert_own_gradient, count};

    #[test]
    fn has_as_many_parameters_as_the_papers() {
        assert_eq!(count("resnet18", CIFAR10), 11_173_962);
    }

    #[test]
    fn its_own_input_gradient_is_autograds() {
        assert_own_gradient("resnet18", CIFAR10);
    }
}
