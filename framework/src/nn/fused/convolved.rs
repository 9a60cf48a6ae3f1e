//! Batch norm and ReLU behind a convolution, and the gradient of that: where the convolution's own kernel takes part, its numbers are read once less.

use super::groups::Groups;
use super::{Activated, Entering, Norm, Normed, batch, conv, conv_down, watched};
use crate::nn::layers::Conv2d;
use crate::nn::norm::BatchNorm2d;
use crate::nn::params::{Mode, Pass};
use tch::Tensor;

impl BatchNorm2d {
    /// [`BatchNorm2d::activate`] of the convolution of `xs`.
    pub fn activate_conv<'a>(&self, pass: &Pass, conv: &Conv2d, xs: impl Into<Entering<'a>>) -> Activated {
        let xs = xs.into();
        match self.convolved(pass, conv, xs, None, false) {
            Some((_, activated)) => activated,
            None => self.activate(pass, &conv.forward(pass, xs.images())),
        }
    }

    /// [`BatchNorm2d::activate_sum`] of the convolution of `xs` and of `ys`.
    pub fn activate_conv_sum<'a>(
        &self,
        pass: &Pass,
        conv: &Conv2d,
        xs: impl Into<Entering<'a>>,
        ys: &Tensor,
    ) -> (Tensor, Activated) {
        let xs = xs.into();
        match self.convolved(pass, conv, xs, Some(ys), true) {
            Some((Some(sum), activated)) => (sum, activated),
            _ => self.activate_sum(pass, &conv.forward(pass, xs.images()), ys),
        }
    }

    /// The activation of [`BatchNorm2d::activate_conv_sum`], where nobody needs the sum.
    pub fn activate_conv_of_sum<'a>(
        &self,
        pass: &Pass,
        conv: &Conv2d,
        xs: impl Into<Entering<'a>>,
        ys: &Tensor,
    ) -> Activated {
        let xs = xs.into();
        match self.convolved(pass, conv, xs, Some(ys), false) {
            Some((_, activated)) => activated,
            None => self.activate_sum(pass, &conv.forward(pass, xs.images()), ys).1,
        }
    }

    /// The convolution of `xs` (+ `ys`) if it `keeps_sum`, and its activation.
    fn convolved(
        &self,
        pass: &Pass,
        conv: &Conv2d,
        entering: Entering,
        ys: Option<&Tensor>,
        keeps_sum: bool,
    ) -> Option<(Option<Tensor>, Activated)> {
        let (weight, by) = conv.unbiased(pass)?;
        let xs = entering.images();
        let inputs: Vec<&Tensor> = [xs, weight].into_iter().chain(ys).collect();
        let is_watched = self.is_watched(pass, &inputs);
        if pass.selected().is_some() || (is_watched && !watched::suits(pass, &[xs])) {
            return None;
        }
        let found = match (pass.mode(), ys) {
            (Mode::Train, _) => {
                let (sum, groups) = conv::forward_statistics(entering, weight, by, ys)?;
                let activated = tch::no_grad(|| self.of_groups(pass, &sum, &groups))?;
                if is_watched {
                    self.node(pass, &[&sum], keeps_sum.then_some(&sum), activated)
                } else {
                    (Some(sum), activated)
                }
            }
            (Mode::Eval, ys) => {
                let (scale, shift) = pass.affine(self.id);
                let line = [&scale, &shift];
                let (sum, out) = match ys {
                    Some(ys) => conv::forward_sum_affine_relu(xs, weight, by, ys, line, keeps_sum)?,
                    None => (None, conv::forward_affine_relu(xs, weight, by, line)?),
                };
                (sum, Activated { out, norm: Norm::Affine(scale) })
            }
        };
        conv.count(pass, xs, &found.1.out);
        Some(found)
    }

    /// The activation of `xs`, of which these are the moments.
    fn of_groups(&self, pass: &Pass, xs: &Tensor, groups: &Groups) -> Option<Activated> {
        let (learned, running) = (self.learned(pass), [self.mean, self.var].map(|id| pass.buffer(id)));
        let factors = batch::statistics_of(groups, learned, running, pass.momentum())?;
        let out = Normed::Line(factors.scale(), factors.shift()).relu(xs);
        let norm = Norm::Reduced(xs.shallow_clone(), learned[0].shallow_clone(), factors);
        Some(Activated { out, norm })
    }

    /// [`BatchNorm2d::activate_conv`] of the first of two convolutions of `xs`, such as a down-sampling block's, and the second.
    pub fn activate_conv_both<'a>(
        &self,
        pass: &Pass,
        convs: [&Conv2d; 2],
        xs: impl Into<Entering<'a>>,
    ) -> (Activated, Tensor) {
        let xs = xs.into();
        self.convolved_both(pass, convs, xs).unwrap_or_else(|| {
            let [out, other] = Conv2d::forward_both(pass, convs, xs.images());
            (self.activate(pass, &out), other)
        })
    }

    fn convolved_both(&self, pass: &Pass, convs: [&Conv2d; 2], entering: Entering) -> Option<(Activated, Tensor)> {
        let (weights, by) = Conv2d::unbiased_both(pass, convs)?;
        let xs = entering.images();
        let is_watched = self.is_watched(pass, &[xs, weights[0], weights[1]]);
        if pass.selected().is_some() || (is_watched && !watched::suits(pass, &[xs])) {
            return None;
        }
        let (activated, other) = match pass.mode() {
            Mode::Train => {
                let ([out, other], groups) = conv_down::forward_statistics(entering, weights, by)?;
                let activated = tch::no_grad(|| self.of_groups(pass, &out, &groups))?;
                (if is_watched { self.node(pass, &[&out], None, activated).1 } else { activated }, other)
            }
            Mode::Eval => {
                let (scale, shift) = pass.affine(self.id);
                let [out, other] = conv_down::forward_affine_relu(xs, weights, by, [&scale, &shift])?;
                (Activated { out, norm: Norm::Affine(scale) }, other)
            }
        };
        convs[0].count(pass, xs, &activated.out);
        convs[1].count(pass, xs, &other);
        Some((activated, other))
    }
}

impl Activated {
    /// [`Activated::input_gradient`] of the input gradient of `conv`, which `out` went into, from that with respect to what came out.
    ///
    /// # Panics
    /// As that, and as [`Conv2d::backward`].
    pub fn conv_gradient(&self, pass: &Pass, conv: &Conv2d, d_out: &Tensor, other: Option<&Tensor>) -> Tensor {
        self.behind(pass, conv, d_out, other)
            .unwrap_or_else(|| self.input_gradient(conv.backward(pass, d_out, &self.out), other))
    }

    fn behind(&self, pass: &Pass, conv: &Conv2d, d_out: &Tensor, other: Option<&Tensor>) -> Option<Tensor> {
        let (weight, by) = conv.unbiased(pass)?;
        match &self.norm {
            Norm::Affine(scale) => conv::backward_masked(d_out, weight, by, &self.out, scale, other),
            Norm::Reduced(xs, _, factors) => {
                let line = [factors.scale(), factors.shift(), factors.mean()];
                let (gradient, groups) = conv::backward_slopes(d_out, weight, by, xs, line.each_ref())?;
                Some(batch::backward_of(&groups, &gradient, xs, factors, other, false)?.0)
            }
            _ => None,
        }
    }

    /// [`Activated::input_gradient`] of the common input gradient of two convolutions, which `out` went into, from those with respect to what came out.
    ///
    /// # Panics
    /// As that, and as [`Conv2d::backward`].
    pub fn conv_gradient_both(&self, pass: &Pass, convs: [&Conv2d; 2], d_outs: [&Tensor; 2]) -> Tensor {
        self.behind_both(pass, convs, d_outs)
            .unwrap_or_else(|| self.input_gradient(Conv2d::backward_both(pass, convs, d_outs, &self.out), None))
    }

    fn behind_both(&self, pass: &Pass, convs: [&Conv2d; 2], d_outs: [&Tensor; 2]) -> Option<Tensor> {
        let (weights, by) = Conv2d::unbiased_both(pass, convs)?;
        match &self.norm {
            Norm::Affine(scale) => conv_down::backward_masked(d_outs, weights, by, &self.out, scale),
            Norm::Reduced(xs, _, factors) => {
                let line = [factors.scale(), factors.shift(), factors.mean()];
                let (gradient, groups) = conv_down::backward_slopes(d_outs, weights, by, xs, line.each_ref())?;
                Some(batch::backward_of(&groups, &gradient, xs, factors, None, false)?.0)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
