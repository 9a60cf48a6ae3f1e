//! ResNet-18 up to its last block, with the gradient with respect to its input.

use crate::blocks::{BasicBlock, Kept, resnet18_stages};
use foil::nn::NormRelu;
use foil::prelude::*;

/// `[N, C, H, W]` to `[N, 512, H/8, W/8]`.
pub(crate) struct Trunk {
    conv1: Conv2d,
    bn1: BatchNorm2d,
    blocks: Vec<BasicBlock>,
}

/// A pass whose gradient can be taken.
pub(crate) struct Passed {
    first: NormRelu,
    kept: Vec<Kept>,
}

impl Trunk {
    pub(crate) fn new(nn: &Builder, inputs: i64) -> Self {
        Self {
            conv1: Conv2d::without_bias(nn, "conv1", [inputs, 64], 3, 1, 1),
            bn1: BatchNorm2d::new(nn, "bn1", 64),
            blocks: resnet18_stages(nn, BasicBlock::new),
        }
    }

    pub(crate) fn forward(&self, pass: &Pass, xs: &Tensor) -> Tensor {
        let first = self.enter(pass, xs).out;
        self.blocks.iter().fold(first, |xs, block| block.pass(pass, &xs).1.out)
    }

    /// The forward pass without autograd, with what its gradient needs.
    pub(crate) fn pass(&self, pass: &Pass, xs: &Tensor) -> Passed {
        let mut passed = Passed { first: self.enter(pass, xs), kept: Vec::new() };
        for block in &self.blocks {
            passed.kept.push(block.pass(pass, passed.out()));
        }
        passed
    }

    fn enter(&self, pass: &Pass, xs: &Tensor) -> NormRelu {
        self.bn1.norm_relu(pass, &self.conv1.forward(pass, xs))
    }

    /// The gradient with respect to `xs`, from that with respect to the output.
    pub(crate) fn input_gradient(&self, pass: &Pass, xs: &Tensor, passed: &Passed, d_out: Tensor) -> Tensor {
        // With respect to a block's output, by the next block's convolutions and by its shortcut.
        let (mut d_out, mut d_shortcut) = (d_out, None::<Tensor>);
        for (i, block) in self.blocks.iter().enumerate().rev() {
            let (between, joined) = &passed.kept[i];
            let entering = passed.entering(i);
            let [d_ys, d_side] = joined.input_gradients(&d_out, d_shortcut.as_ref());
            let d_between = between.conv_input_gradient(pass, &block.conv2, &d_ys, None);
            (d_out, d_shortcut) = match &block.shortcut {
                Some((conv, _)) => {
                    (Conv2d::backward_pair(pass, [&block.conv1, conv], [&d_between, &d_side], entering), None)
                }
                None => (block.conv1.backward(pass, &d_between, entering), Some(d_side)),
            };
        }
        if let Some(d_shortcut) = d_shortcut {
            d_out += d_shortcut;
        }
        self.conv1.backward(pass, &passed.first.input_gradient(d_out, None), xs)
    }
}

impl Passed {
    /// The input of block `i`; past the last block, the output.
    fn entering(&self, i: usize) -> &Tensor {
        match i.checked_sub(1).and_then(|before| self.kept.get(before)) {
            Some((_, joined)) => &joined.out,
            None => &self.first.out,
        }
    }

    /// The output.
    pub(crate) fn out(&self) -> &Tensor {
        self.entering(self.kept.len())
    }
}
