//! A multilayer perceptron, for small problems such as points in a plane.

use foil::prelude::*;

/// A multilayer perceptron: linear layers with a ReLU between them, on the image's values as one
/// row.
///
/// Names are those of an `nn.Sequential` of a flatten, then alternating linear layers and ReLUs.
#[settings]
pub struct Mlp {
    /// Units of each hidden layer.
    #[set(default = vec![64, 64])]
    pub hidden: Vec<u32>,
}

struct Net(Vec<Linear>);

impl Config<dyn Model> for Mlp {
    fn build(&self, cx: &Build) -> Result<Box<dyn Model>> {
        if let Some(layer) = self.hidden.iter().position(|units| !(1..=65_536).contains(units)) {
            cx.problem(&format!("hidden.{layer}"), "must be a number of units", "write 1 to 65536");
            return Err(Error::new("a layer of it has no units"));
        }
        let nn = cx.builder();
        let inputs = cx.data.channels * cx.data.height * cx.data.width;
        let hidden = self.hidden.iter().map(|units| i64::from(*units));
        let widths: Vec<i64> = [inputs].into_iter().chain(hidden).chain([cx.data.classes]).collect();
        let layers = widths.windows(2).enumerate();
        Ok(Box::new(Net(layers.map(|(n, w)| Linear::new(nn, &(2 * n + 1).to_string(), w[0], w[1])).collect())))
    }
}

impl Model for Net {
    fn forward(&self, pass: &Pass, xs: &Tensor) -> Tensor {
        let (last, hidden) = self.0.split_last().expect("there is an output layer");
        let features = hidden.iter().fold(xs.flatten(1, -1), |xs, layer| nn::relu(layer.forward(pass, &xs)));
        pass.feature("penultimate", &features);
        last.forward(pass, &features)
    }
}

register!(dyn Model, "mlp", Mlp, "{ hidden: [64, 64] }");

#[cfg(test)]
mod tests {
    use crate::testing::{MNIST, count, problems};

    #[test]
    fn counts_its_parameters() {
        assert_eq!(count("{ type: mlp, hidden: [] }", MNIST), 784 * 10 + 10);
        assert_eq!(count("{ type: mlp, hidden: [20, 5] }", MNIST), 784 * 20 + 20 + 20 * 5 + 5 + 5 * 10 + 10);
        assert_eq!(
            problems("{ type: mlp, hidden: [3, 0] }", MNIST),
            ["`model.hidden.1` must be a number of units (write 1 to 65536)"]
        );
    }
}
