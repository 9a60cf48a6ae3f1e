//! ResNet-18 up to its last block, with the gradient with respect to its input.

use crate::blocks::{BasicBlock, resnet18_stages};
use foil::nn::{Activated, Joined, Shortcut};
use foil::prelude::*;

/// `[N, C, H, W]` to `[N, 512, H/8, W/8]`.
pub(crate) struct Trunk {
    conv1: Conv2d,
    bn1: BatchNorm2d,
    blocks: Vec<BasicBlock>,
}

/// What a block keeps for its gradient: what is between its convolutions, and its end.
type Kept = (Activated, Joined);

/// A pass whose gradient can be taken.
pub(crate) struct Passed {
    first: Activated,
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
        let xs = nn::relu(self.bn1.forward(pass, &self.conv1.forward(pass, xs)));
        self.blocks.iter().fold(xs, |xs, block| block.forward(pass, &xs))
    }

    /// The same without autograd: batch norm and ReLU are one pass over memory, and so are a block's last batch norms, its sum and its ReLU.
    pub(crate) fn pass(&self, pass: &Pass, xs: &Tensor) -> Passed {
        let first = self.bn1.activate(pass, &self.conv1.forward(pass, xs));
        let mut kept: Vec<Kept> = Vec::new();
        for block in &self.blocks {
            let entering = kept.last().map_or(&first.out, |(_, joined)| &joined.out);
            let between = block.bn1.activate(pass, &block.conv1.forward(pass, entering));
            let ys = block.conv2.forward(pass, &between.out);
            let joined = match &block.shortcut {
                Some((conv, bn)) => block.bn2.join(pass, &ys, Shortcut::Normed(bn, &conv.forward(pass, entering))),
                None => block.bn2.join(pass, &ys, Shortcut::Same(entering)),
            };
            kept.push((between, joined));
        }
        Passed { first, kept }
    }

    /// The gradient with respect to `xs`, from that with respect to what came out.
    pub(crate) fn input_gradient(&self, pass: &Pass, xs: &Tensor, passed: &Passed, d_out: Tensor) -> Tensor {
        // With respect to what leaves a block, by the next one's convolutions and by its shortcut.
        let (mut d_out, mut d_shortcut) = (d_out, None::<Tensor>);
        for (i, block) in self.blocks.iter().enumerate().rev() {
            let (between, joined) = &passed.kept[i];
            let entering = passed.entering(i);
            let [d_ys, d_side] = joined.input_gradients(&d_out, d_shortcut.as_ref());
            let d_between = between.input_gradient(block.conv2.backward(pass, &d_ys, &between.out), None);
            d_out = block.conv1.backward(pass, &d_between, entering);
            d_shortcut = Some(match &block.shortcut {
                Some((conv, _)) => conv.backward(pass, &d_side, entering),
                None => d_side,
            });
        }
        if let Some(d_shortcut) = d_shortcut {
            d_out += d_shortcut;
        }
        self.conv1.backward(pass, &passed.first.input_gradient(d_out, None), xs)
    }
}

impl Passed {
    /// What enters block `i`; after the last, what comes out.
    fn entering(&self, i: usize) -> &Tensor {
        match i.checked_sub(1).and_then(|before| self.kept.get(before)) {
            Some((_, joined)) => &joined.out,
            None => &self.first.out,
        }
    }

    /// What comes out.
    pub(crate) fn out(&self) -> &Tensor {
        self.entering(self.kept.len())
    }
}
