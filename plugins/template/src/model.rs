//! template_model: one hidden layer.
//!
//! Where it comes from: a paper with its table, or your own idea in a sentence.

use foil::prelude::*;

/// A network with one hidden layer: linear, ReLU, linear.
///
/// `foil explain` prints this page, and the keys below with their meaning. Parameters have the
/// names that PyTorch would give them.
#[settings]
pub struct TemplateModel {
    /// Units of the hidden layer.
    #[set(default = 100, range = 1..=100_000)]
    pub hidden: i64,
}

struct Net {
    fc1: Linear,
    fc2: Linear,
}

impl Config<dyn Model> for TemplateModel {
    fn build(&self, cx: &Build) -> Result<Box<dyn Model>> {
        let (nn, data) = (cx.builder(), &cx.data);
        Ok(Box::new(Net {
            fc1: Linear::new(nn, "fc1", cx.inputs() * data.height * data.width, self.hidden),
            fc2: Linear::new(nn, "fc2", self.hidden, data.classes),
        }))
    }
}

impl Model for Net {
    fn forward(&self, pass: &Pass, xs: &Tensor) -> Tensor {
        let hidden = nn::relu(self.fc1.forward(pass, &xs.flatten(1, -1)));
        self.fc2.forward(pass, &hidden)
    }
}

register!(dyn Model, "template_model", TemplateModel, "{ hidden: 100 }");

#[cfg(test)]
mod tests {
    use super::*;
    use foil::testing::{assert_close, network_from_yaml};

    // import torch; from torch import nn
    // m = nn.Sequential(nn.Linear(50, 3), nn.ReLU(), nn.Linear(3, 4))
    // with torch.no_grad(): [p.fill_(.1) for p in m.parameters()]; m[2].weight[1] = .2
    // m(torch.linspace(0, 1, 50)[None])   # 0.88, 1.66, 0.88, 0.88
    #[test]
    fn equals_pytorch_on_one_image() {
        let network = network_from_yaml("{ type: template_model, hidden: 3 }", Kind::Double);
        tch::no_grad(|| {
            let mut weights = network.params().state_dict();
            weights.iter_mut().for_each(|(_, tensor)| drop(tensor.fill_(0.1)));
            let (_, fc2) = weights.iter().find(|(name, _)| name == "fc2.weight").unwrap();
            drop(fc2.get(1).fill_(0.2));
        });
        let x = Tensor::linspace(0.0, 1.0, 50, (Kind::Double, tch::Device::Cpu)).view([1, 2, 5, 5]);
        assert_close(&network.frozen(&x, Mode::Eval, None), &Tensor::from_slice2(&[[0.88, 1.66, 0.88, 0.88]]), 1e-12);
    }
}
