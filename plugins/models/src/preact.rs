//! PreAct-ResNet-18 and wide ResNets: a convolution, a chain of pre-activation blocks, the mean
//! over the image, a linear layer. Written for speed, with the input gradient by hand: to write
//! your own model, start from `plugins/template/src/model.rs`.

use crate::Activation;
use crate::blocks::PreActBlock;
use foil::nn::{ConvInput, NormRelu};
use foil::prelude::*;

/// The whole network, with or without batch norm and activation after the last block.
pub(crate) struct PreActNet {
    pub(crate) conv1: Conv2d,
    pub(crate) blocks: Vec<PreActBlock>,
    pub(crate) bn: Option<BatchNorm2d>,
    pub(crate) linear: Linear,
    pub(crate) activation: Activation,
}

/// What a block keeps for its gradient: its activated input, and what is between its convolutions.
type Kept = [NormRelu; 2];

impl PreActNet {
    /// The batch norm before block `i`; for `i` past the last block, the final one.
    fn norm(&self, i: usize) -> Option<&BatchNorm2d> {
        self.blocks.get(i).map(|block| &block.bn1).or(self.bn.as_ref())
    }

    /// What the blocks make of `xs`, or if there is one its activation: a block's sum, the next
    /// batch norm and its ReLU are one pass over memory.
    fn features(&self, pass: &Pass, xs: &Tensor, mut keep: impl FnMut(Kept)) -> (Tensor, Option<NormRelu>) {
        let mut sum = self.conv1.forward(pass, xs);
        let mut activated = self.norm(0).map(|bn| bn.norm_relu(pass, &sum));
        for (i, block) in self.blocks.iter().enumerate() {
            let Some(entering) = activated.take() else { break };
            let (between, shortcut) = match &block.shortcut {
                Some(conv) => {
                    let (between, other) = block.bn2.conv_pair_norm_relu(pass, [&block.conv1, conv], &entering);
                    (between, Some(other))
                }
                None => (block.bn2.conv_norm_relu(pass, &block.conv1, &entering), None),
            };
            let dropped = (block.drop_rate > 0.0).then(|| nn::dropout(pass, &between.out, block.drop_rate));
            let inner = dropped.as_ref().map_or(ConvInput::from(&between), ConvInput::from);
            let shortcut = shortcut.as_ref().unwrap_or(&sum);
            (sum, activated) = match self.norm(i + 1) {
                // The next block's shortcut is the sum itself.
                Some(bn) if self.blocks.get(i + 1).is_some_and(|next| next.shortcut.is_none()) => {
                    let (sum, next) = bn.conv_add_norm_relu(pass, &block.conv2, inner, shortcut);
                    (sum, Some(next))
                }
                Some(bn) => {
                    let next = bn.conv_add_norm_relu_without_sum(pass, &block.conv2, inner, shortcut);
                    (next.out.shallow_clone(), Some(next))
                }
                None => (block.conv2.forward(pass, inner.images()) + shortcut, None),
            };
            keep([entering, between]);
        }
        (sum, activated)
    }
}

impl PreActNet {
    /// Logits of the last activations `[N, C, H, W]`.
    fn classify(&self, pass: &Pass, last: &Tensor) -> Tensor {
        let features = nn::global_average(last);
        pass.feature("penultimate", &features);
        self.linear.forward(pass, &features)
    }

    /// Layer by layer, for any activation; there are kernels for ReLU only.
    fn forward_plainly(&self, pass: &Pass, xs: &Tensor) -> Tensor {
        let mut sum = self.conv1.forward(pass, xs);
        for block in &self.blocks {
            let entering = self.activation.of(block.bn1.forward(pass, &sum));
            let between = self.activation.of(block.bn2.forward(pass, &block.conv1.forward(pass, &entering)));
            // At 0 it would still draw, and a network that draws is one whose passes differ.
            let between = if block.drop_rate > 0.0 { nn::dropout(pass, &between, block.drop_rate) } else { between };
            let shortcut = block.shortcut.as_ref().map_or(sum, |conv| conv.forward(pass, &entering));
            sum = block.conv2.forward(pass, &between) + shortcut;
        }
        let last =
            self.bn.as_ref().map_or_else(|| sum.shallow_clone(), |bn| self.activation.of(bn.forward(pass, &sum)));
        self.classify(pass, &last)
    }
}

impl Model for PreActNet {
    fn forward(&self, pass: &Pass, xs: &Tensor) -> Tensor {
        if !self.activation.is_relu() {
            return self.forward_plainly(pass, xs);
        }
        let (sum, activated) = self.features(pass, xs, drop);
        let last = activated.map_or(sum, |activated| activated.out);
        self.classify(pass, &last)
    }

    /// Without autograd: the gradients are one pass over memory too.
    fn input_gradient(
        &self,
        pass: &Pass,
        xs: &Tensor,
        d_logits: &dyn Fn(&Tensor) -> Tensor,
    ) -> Option<(Tensor, Tensor)> {
        if !self.activation.is_relu() {
            return None;
        }
        if self.blocks.iter().any(|block| block.drop_rate > 0.0 && pass.mode() == Mode::Train) {
            return None;
        }
        let mut kept = Vec::new();
        let (sum, activated) = self.features(pass, xs, |block| kept.push(block));
        let last = activated.as_ref().map_or(&sum, |activated| &activated.out);
        let logits = self.linear.forward_pooled(pass, last);

        let d_logits = d_logits(&logits);
        let mut d_sum = match &activated {
            Some(activated) => activated.pooled_linear_input_gradient(pass, &self.linear, &d_logits),
            None => self.linear.backward_pooled(pass, &d_logits, last),
        };
        for (block, [entering, between]) in self.blocks.iter().zip(&kept).rev() {
            let d_between = between.conv_input_gradient(pass, &block.conv2, &d_sum, None);
            d_sum = match &block.shortcut {
                Some(conv) => entering.conv_pair_input_gradient(pass, [&block.conv1, conv], [&d_between, &d_sum]),
                None => entering.conv_input_gradient(pass, &block.conv1, &d_between, Some(&d_sum)),
            };
        }
        Some((self.conv1.backward(pass, &d_sum, xs), logits))
    }
}
