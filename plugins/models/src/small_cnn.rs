//! The MNIST network of the CAT paper, first used in Kolter & Madry's adversarial-robustness tutorial (NeurIPS 2018).

use foil::prelude::*;

/// Four convolutions and two linear layers: the MNIST network of the CAT paper. 379,702 parameters on 28 x 28 digits.
///
/// conv 32, conv 32 stride 2, conv 64, conv 64 stride 2 (3 x 3, padding 1, ReLU after each), linear 100, ReLU, linear.
/// Names are those of its `nn.Sequential`.
#[settings]
pub struct SmallCnn {}

struct Net {
    convs: [Conv2d; 4],
    hidden: Linear,
    out: Linear,
}

impl Config<dyn Model> for SmallCnn {
    fn build(&self, cx: &Build) -> Result<Box<dyn Model>> {
        let quarter = |pixels: i64| (pixels + 3) / 4;
        let features = 64 * quarter(cx.data.height) * quarter(cx.data.width);
        let nn = cx.builder();
        Ok(Box::new(Net {
            convs: [
                Conv2d::new(nn, "0", [cx.data.channels, 32], 3, 1, 1),
                Conv2d::new(nn, "2", [32, 32], 3, 2, 1),
                Conv2d::new(nn, "4", [32, 64], 3, 1, 1),
                Conv2d::new(nn, "6", [64, 64], 3, 2, 1),
            ],
            hidden: Linear::new(nn, "9", features, 100),
            out: Linear::new(nn, "11", 100, cx.data.classes),
        }))
    }
}

impl Net {
    /// Logits from the first convolution's output after its ReLU.
    fn rest(&self, pass: &Pass, first: &Tensor) -> Tensor {
        let convs = &self.convs[1..];
        let features = convs.iter().fold(first.shallow_clone(), |xs, conv| nn::relu(conv.forward(pass, &xs)));
        let hidden = nn::relu(self.hidden.forward(pass, &features.flatten(1, -1)));
        self.out.forward(pass, &hidden)
    }
}

impl Model for Net {
    fn forward(&self, pass: &Pass, xs: &Tensor) -> Tensor {
        self.rest(pass, &nn::relu(self.convs[0].forward(pass, xs)))
    }

    /// Autograd down to the first convolution; through it, on the CPU, the faster way.
    fn input_gradient(
        &self,
        pass: &Pass,
        xs: &Tensor,
        d_logits: &dyn Fn(&Tensor) -> Tensor,
    ) -> Option<(Tensor, Tensor)> {
        let (_, c, h, w) = xs.size4().ok()?;
        if xs.device().is_cuda() || c > 1 {
            return None;
        }
        let first = nn::relu(self.convs[0].forward(pass, xs)).set_requires_grad(true);
        let logits = self.rest(pass, &first);
        let value = (&logits * d_logits(&logits)).sum(None::<Kind>);
        let d_first = Tensor::run_backward(&[value], &[&first], false, false).remove(0);
        let d_first = first.detach().threshold_backward(&d_first, 0.0);
        Some((self.convs[0].input_gradient(pass, &d_first, [h, w]), logits.detach()))
    }
}

register!(dyn Model, "small_cnn", SmallCnn, "{}");

#[cfg(test)]
mod tests {
    use crate::testing::{MNIST, count, random};
    use foil::prelude::*;

    #[test]
    fn has_as_many_parameters_as_the_paper() {
        assert_eq!(count("small_cnn", MNIST), 379_702);
    }

    // Oracle: autograd through the whole network.
    #[test]
    fn its_own_input_gradient_is_autograds() {
        let (network, noise, x) = random("small_cnn", MNIST, 5);
        let d_logits = |logits: &Tensor| logits.detach().sin() + 0.5;
        let (gradient, logits) = network.input_gradient(&x, Mode::Eval, &noise, &d_logits).unwrap();
        let x = x.set_requires_grad(true);
        let expected = network.frozen(&x, Mode::Eval, Some(&noise));
        let value = (&expected * d_logits(&expected)).sum(Kind::Double);
        let by_autograd = Tensor::run_backward(&[value], &[&x], false, false).remove(0);
        assert_eq!(logits, expected);
        assert!(gradient.size() == x.size() && !gradient.requires_grad());
        let scale = by_autograd.abs().max().double_value(&[]);
        assert!(scale > 0.0 && (gradient - by_autograd).abs().max().double_value(&[]) < 1e-5 * scale);
    }
}
