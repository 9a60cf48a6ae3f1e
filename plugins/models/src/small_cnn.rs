//! The MNIST network of the CAT paper, first used in Kolter & Madry's adversarial-robustness
//! tutorial (NeurIPS 2018).

use foil::prelude::*;

/// Four convolutions and two linear layers: the MNIST network of the CAT paper. 379,702 parameters
/// on 28 x 28 digits.
///
/// conv 32, conv 32 stride 2, conv 64, conv 64 stride 2 (3 x 3, padding 1, ReLU after each), linear
/// 100, ReLU, linear. Names are those of its `nn.Sequential`.
#[settings]
pub struct SmallCnn {
    /// Channels of the first two convolutions; the others have twice as many.
    #[set(default = 32, range = 1..=1024)]
    pub width: i64,
    /// Outputs of the first linear layer.
    #[set(default = 100, range = 1..=65_536)]
    pub hidden: i64,
}

struct Net {
    convs: [Conv2d; 4],
    hidden: Linear,
    out: Linear,
}

impl Config<dyn Model> for SmallCnn {
    fn build(&self, cx: &Build) -> Result<Box<dyn Model>> {
        let quarter = |pixels: i64| (pixels + 3) / 4;
        let (narrow, wide, hidden) = (self.width, 2 * self.width, self.hidden);
        let features = wide * quarter(cx.data.height) * quarter(cx.data.width);
        let nn = cx.builder();
        Ok(Box::new(Net {
            convs: [
                Conv2d::new(nn, "0", [cx.data.channels, narrow], 3, 1, 1),
                Conv2d::new(nn, "2", [narrow, narrow], 3, 2, 1),
                Conv2d::new(nn, "4", [narrow, wide], 3, 1, 1),
                Conv2d::new(nn, "6", [wide, wide], 3, 2, 1),
            ],
            hidden: Linear::new(nn, "9", features, hidden),
            out: Linear::new(nn, "11", hidden, cx.data.classes),
        }))
    }
}

impl Model for Net {
    fn forward(&self, pass: &Pass, xs: &Tensor) -> Tensor {
        let features = self.convs.iter().fold(xs.shallow_clone(), |xs, conv| nn::relu(conv.forward(pass, &xs)));
        let hidden = nn::relu(self.hidden.forward(pass, &features.flatten(1, -1)));
        pass.feature("penultimate", &hidden);
        self.out.forward(pass, &hidden)
    }

    /// Layer by layer without autograd: fewer passes over memory.
    fn input_gradient(
        &self,
        pass: &Pass,
        xs: &Tensor,
        d_logits: &dyn Fn(&Tensor) -> Tensor,
    ) -> Option<(Tensor, Tensor)> {
        let (_, c, h, w) = xs.size4().ok()?;
        let mut outs = vec![xs.shallow_clone()];
        for (i, conv) in self.convs.iter().enumerate() {
            outs.push(conv.forward_relu(pass, &outs[i]));
        }
        let features = &outs[4];
        let hidden = nn::relu(self.hidden.forward(pass, &nn::flatten(features)));
        let logits = self.out.forward(pass, &hidden);

        let d_hidden = nn::relu_backward(&self.out.backward(pass, &d_logits(&logits)), &hidden);
        let mut d = nn::flatten_backward(&self.hidden.backward(pass, &d_hidden), features);
        for (i, conv) in self.convs.iter().enumerate().rev() {
            d = nn::relu_backward(&d, &outs[i + 1]);
            d = match i {
                0 if c == 1 && !xs.device().is_cuda() => conv.input_gradient(pass, &d, [h, w]),
                _ => conv.backward(pass, &d, &outs[i]),
            };
        }
        Some((d, logits))
    }
}

register!(dyn Model, "small_cnn", SmallCnn, "{}");

#[cfg(test)]
mod tests {
    use crate::testing::{MNIST, assert_own_gradient, count};

    #[test]
    fn has_as_many_parameters_as_the_paper() {
        assert_eq!(count("small_cnn", MNIST), 379_702);
        // The convolutions have 9 (16 + 16² + 16·32 + 32²) + 96, the linear layers 32·49·24 + 24
        // and 24·10 + 10.
        assert_eq!(count("{ type: small_cnn, width: 16, hidden: 24 }", MNIST), 16_368 + 37_656 + 250);
    }

    #[test]
    fn its_own_input_gradient_is_autograds() {
        assert_own_gradient("small_cnn", MNIST);
    }
}
