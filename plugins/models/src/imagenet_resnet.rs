//! ResNet-18 and ResNet-50 for large images, as torchvision has them.

use crate::shape;
use foil::nn::Shortcut;
use foil::prelude::*;

/// ResNet for images of 64 to 224 pixels (He et al. 2015, arXiv:1512.03385). With 18 layers
/// 11,689,512 parameters for 1000 classes, with 50 layers 25,557,032.
///
/// conv 64 of 7 x 7 with stride 2, batch norm, ReLU, maximum over 3 x 3 with stride 2, four stages
/// (strides 1, 2, 2, 2), mean over the image, linear. Names and initialisation are torchvision's,
/// so that its weights fit; the stride of a bottleneck is in its 3 x 3 convolution, as there.
#[settings]
pub struct ImagenetResnet {
    /// Layers: 18, in blocks of two 3 x 3 convolutions, or 50, in bottlenecks of 1 x 1, 3 x 3 and
    /// 1 x 1.
    #[set(default = 18)]
    pub depth: i64,
}

/// Convolutions that are each followed by batch norm, and their sum with the input by ReLU.
struct Block {
    inner: Vec<(Conv2d, BatchNorm2d)>,
    last: (Conv2d, BatchNorm2d),
    downsample: Option<(Conv2d, BatchNorm2d)>,
}

struct Net {
    conv1: Conv2d,
    bn1: BatchNorm2d,
    blocks: Vec<Block>,
    fc: Linear,
}

impl Block {
    /// `sizes` has a convolution's kernel, output channels and stride, in order.
    fn new(nn: &Builder, inputs: i64, sizes: &[(i64, i64, i64)]) -> Self {
        let mut from = inputs;
        let mut layers = Vec::new();
        for (number, &(kernel, outputs, stride)) in (1..).zip(sizes) {
            let conv = Conv2d::he_fan_out(nn, &format!("conv{number}"), [from, outputs], kernel, stride, kernel / 2);
            layers.push((conv, BatchNorm2d::new(nn, &format!("bn{number}"), outputs)));
            from = outputs;
        }
        let stride: i64 = sizes.iter().map(|(.., stride)| stride).product();
        let downsample = (stride != 1 || inputs != from).then(|| {
            let conv = Conv2d::he_fan_out(nn, "downsample.0", [inputs, from], 1, stride, 0);
            (conv, BatchNorm2d::new(nn, "downsample.1", from))
        });
        let last = layers.pop().expect("a block has convolutions");
        Self { inner: layers, last, downsample }
    }

    fn forward(&self, pass: &Pass, xs: &Tensor) -> Tensor {
        let mut ys = xs.shallow_clone();
        for (conv, bn) in &self.inner {
            ys = bn.norm_relu(pass, &conv.forward(pass, &ys)).out;
        }
        let (conv, bn) = &self.last;
        let ys = conv.forward(pass, &ys);
        match &self.downsample {
            None => bn.norm_add_relu(pass, &ys, Shortcut::Identity(xs)).out,
            Some((conv, norm)) => bn.norm_add_relu(pass, &ys, Shortcut::Projection(norm, &conv.forward(pass, xs))).out,
        }
    }
}

impl Config<dyn Model> for ImagenetResnet {
    fn build(&self, cx: &Build) -> Result<Box<dyn Model>> {
        shape::require_large(cx);
        if ![18, 50].contains(&self.depth) {
            cx.problem("depth", format!("is {}", self.depth), "write 18 or 50");
        }
        let nn = cx.builder();
        let conv1 = Conv2d::he_fan_out(nn, "conv1", [cx.inputs(), 64], 7, 2, 3);
        let bn1 = BatchNorm2d::new(nn, "bn1", 64);
        let bottlenecks = self.depth == 50;
        let stages: [i64; 4] = if bottlenecks { [3, 4, 6, 3] } else { [2; 4] };
        let (mut blocks, mut inputs) = (Vec::new(), 64);
        for (stage, count) in (0..).zip(stages) {
            let width = 64 << stage;
            nn.scope(format!("layer{}", stage + 1), |nn| {
                for number in 0..count {
                    let stride = if number == 0 && stage > 0 { 2 } else { 1 };
                    let sizes = match bottlenecks {
                        false => vec![(3, width, stride), (3, width, 1)],
                        true => vec![(1, width, 1), (3, width, stride), (1, 4 * width, 1)],
                    };
                    blocks.push(nn.scope(number, |nn| Block::new(nn, inputs, &sizes)));
                    inputs = sizes[sizes.len() - 1].1;
                }
            });
        }
        Ok(Box::new(Net { conv1, bn1, blocks, fc: Linear::new(nn, "fc", inputs, cx.data.classes) }))
    }
}

impl Model for Net {
    fn forward(&self, pass: &Pass, xs: &Tensor) -> Tensor {
        let ys = self.bn1.norm_relu(pass, &self.conv1.forward(pass, xs)).out;
        let ys = ys.max_pool2d([3, 3], [2, 2], [1, 1], [1, 1], false);
        let ys = self.blocks.iter().fold(ys, |ys, block| block.forward(pass, &ys));
        let features = nn::global_average(&ys);
        pass.feature("penultimate", &features);
        self.fc.forward(pass, &features)
    }
}

register!(dyn Model, "imagenet_resnet", ImagenetResnet, "{ depth: 18 }");

#[cfg(test)]
mod tests {
    use crate::testing::{CIFAR10, count, problems};
    use foil::registry::DataFacts;

    const IMAGENET: DataFacts = DataFacts { height: 224, width: 224, classes: 1000, ..CIFAR10 };

    // sum(p.numel() for p in torchvision.models.resnet18().parameters()) -> 11689512; resnet50:
    // 25557032
    #[test]
    fn has_as_many_parameters_as_torchvisions() {
        assert_eq!(count("imagenet_resnet", IMAGENET), 11_689_512);
        assert_eq!(count("{ type: imagenet_resnet, depth: 50 }", IMAGENET), 25_557_032);
    }

    #[test]
    fn small_images_are_refused_with_their_size() {
        let found = problems("imagenet_resnet", DataFacts { height: 28, width: 100, ..CIFAR10 });
        assert!(
            found[0].starts_with("`model` takes images of at least 32 x 32; the data's are 3 x 28 x 100"),
            "{found:?}"
        );
    }
}
